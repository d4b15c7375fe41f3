"""An oracle that cannot turn red proves nothing: every counter is shown red by a seeded mistake, and by it alone.

sample.txt is what `test_decoding` of Postgres 15 said of a handful of transactions: every rule, awkward text, NULLs, a
savepoint and a whole transaction rolled back, another key, a delete. Some of what is due is written out by hand below;
the rest of the perfect stream is made from rules.py, and each test then spoils it.
"""

import io
import json
import unittest
from base64 import b64decode, b64encode
from datetime import date, datetime, time, timezone
from decimal import Decimal
from pathlib import Path

import fastavro

import oracle
import rules
import state
import witness

HERE = Path(__file__).parent
SCHEMAS = HERE.parents[2] / "schemas"
SOURCE = "/oms/demo"
COMMIT_RECORD = 0x28


def schemas():
    """Contract's full name -> its schema with the shared record inlined, as a registry serves it."""
    meta = json.loads((SCHEMAS / "common/EventMeta/v1.avsc").read_text())

    def inlined(schema):
        for field in schema["fields"]:
            if field["type"] == "common.EventMeta":
                field["type"] = meta
        return schema

    return {name: inlined(json.loads((SCHEMAS / name.replace(".", "/") / "v1.avsc").read_text())) for name in rules.FIELDS}


BY_NAME = schemas()
IDS = {name: number for number, name in enumerate(BY_NAME, start=300)}
BY_ID = {IDS[name]: schema for name, schema in BY_NAME.items()}
PARSED = {name: fastavro.parse_schema(oracle._uuid_as_text(schema)) for name, schema in BY_NAME.items()}


def sample():
    with open(HERE / "sample.txt", encoding="utf-8", newline="\n") as dump:
        return dump.readlines()


def text64(text):
    return b64encode(text.encode()).decode()


def encoded(name, fields):
    out = io.BytesIO()
    out.write(b"\0" + IDS[name].to_bytes(4, "big"))
    fastavro.schemaless_writer(out, PARSED[name], fields)
    return b64encode(out.getvalue()).decode()


def all_due():
    return [
        (transaction, record)
        for transaction in witness.transactions(sample())
        for record in rules.due(transaction, transaction.end - COMMIT_RECORD, SOURCE)
    ]


def perfect():
    """The lines of a reader that saw what is due, as objects."""
    lines = []
    for transaction, record in all_due():
        lines.append(
            {
                "topic": record.topic,
                "partition": 0,
                "offset": len(lines),
                "timestamp": int(transaction.committed_at.timestamp() * 1000),
                "producer_partition": 0,
                "key": text64(record.key),
                "headers": [[name, text64(value)] for name, value in record.headers.items()],
                "value": record.value and encoded(record.type, record.value),
            }
        )
    return lines


def id_of(line):
    return b64decode(dict(line["headers"])["ce_id"]).decode()


def with_id(line, id):
    return line | {"headers": [[name, text64(id) if name == "ce_id" else value] for name, value in line["headers"]]}


def read(lines):
    return oracle.read(json.dumps(line) for line in lines)


def judge(lines, next_lsn=None):
    judged = oracle.Oracle(BY_ID.__getitem__, SOURCE, next_lsn=next_lsn)
    judged.judge(witness.transactions(sample()), read(lines))
    return judged.verdict()


def entries():
    """The journal of a workload of one writer that made the sample's transactions."""
    journal = []
    for sequence, transaction in enumerate(witness.transactions(sample()), start=1):
        due = [
            {"event": (record.type or "walwright.Tombstone"), "count": 1, "mark": record.headers.get("correlation_id", record.key)}
            for record in rules.due(transaction, transaction.end - COMMIT_RECORD, SOURCE)
        ]
        request = due[0]["mark"] if due else f"nothing-{sequence}"
        entry = {"request": request, "writer": 1, "sequence": sequence, "operation": "Step", "outcome": "committed"}
        journal.append(entry | {"due": due})
    return journal


def dumps():
    """The rows before and after the sample, replayed from its changes."""
    before, after = {}, {}
    for transaction in witness.transactions(sample()):
        for change in transaction.changes:
            if change.table not in rules.RULES:
                continue
            columns = rules.PRIMARY_KEYS[change.table]
            old, new = dict.fromkeys(change.new) | change.old, change.new
            key = (change.table, *((change.old or new)[column] for column in columns))
            if change.operation == "UPDATE" and key not in after:
                before[key] = old
            if change.operation != "INSERT":
                after.pop(key, None)
            if change.operation != "DELETE":
                after[(change.table, *(new[column] for column in columns))] = new
    # The sample's return leaves its order alone, which the business does not.
    after["public.orders", "7"]["status"] = "RETURNED"
    return [[{"table": key[0], "row": row} for key, row in rows.items()] for rows in (before, after)]


class Sample(unittest.TestCase):
    """By hand, from what was sent to Postgres."""

    def record(self, type, index=0):
        return [record for _, record in all_due() if record.type == type][index]

    def test_counts(self):
        types = [record.type or "tombstone" for _, record in all_due()]
        counts = {type: types.count(type) for type in types}
        self.assertEqual(
            counts,
            {
                "oms.CustomerChanged": 4,
                "tombstone": 2,
                "oms.OrderPlaced": 2,
                "oms.OrderLineAdded": 2,
                "oms.PaymentCaptured": 1,
                "oms.OrderPaid": 1,
                "oms.OrderShipped": 1,
                "oms.InventoryAdjusted": 3,
                "oms.ReturnReceived": 1,
                "oms.PaymentRefunded": 1,
                "oms.OrderCancelled": 1,
            },
        )

    def test_customer(self):
        record = self.record("oms.CustomerChanged")
        at = witness.lsn("0/19D2868") - COMMIT_RECORD
        id = f"/oms/demo:0:0/{at:X}:public.customers:0:oms/CustomerChanged/v1"
        self.assertEqual(record.headers, {"ce_id": id, "ce_type": "oms.CustomerChanged.v1"})
        self.assertEqual((record.topic, record.key), ("oms.customers-state", "N-1"))
        self.assertEqual(
            record.value,
            {
                "meta": {
                    "id": id,
                    "occurred_at": datetime(2026, 11, 21, 14, 44, 32, 455140, timezone.utc),
                    "source": "/oms/demo",
                    "sequence": "00000000-00000000019D2840-0000000000-FFFFFFFFFF",
                    "operation": "INSERT",
                    "capture": "STREAM",
                    "correlation_id": None,
                    "traceparent": None,
                },
                "customer_number": "N-1",
                "customer_id": "0a1b2c3d-0000-4000-8000-00000000000a",
                "name": "O'Brien \"Bob\" \\ Ltd\n\t李 🚚",
                "email": "bob@example.com",
                "phone": None,
                "tier": "GOLD",
                "birth_date": date(1984, 2, 29),
                "newsletter": True,
                "credit_limit": Decimal("-9999999999.99"),
                "billing_address": '{"n": 1.50, "city": "Köln \'] new-tuple: x[text]:\'y\'"}',
                "created_at": datetime(2026, 1, 2, 3, 4, 5, 6, timezone.utc),
            },
        )

    def test_rekey(self):
        at = witness.lsn("0/19D2AD0") - COMMIT_RECORD
        grave, moved = [record for transaction, record in all_due() if transaction.xid == "756"]
        self.assertEqual((grave.key, grave.value), ("N-1", None))
        self.assertEqual(
            grave.headers,
            {"ce_id": f"/oms/demo:0:0/{at:X}:public.customers:0:oms.customers-state", "ce_type": "walwright.Tombstone.v1"},
        )
        self.assertEqual((moved.key, moved.value["meta"]["operation"]), ("N-2", "REKEY"))
        self.assertEqual(moved.headers["correlation_id"], "r-2")

    def test_order_in_a_transaction(self):
        records = [record for transaction, record in all_due() if transaction.xid == "758"]
        self.assertEqual([record.type for record in records], ["oms.OrderPlaced"] + ["oms.OrderLineAdded"] * 2)
        self.assertEqual([record.key for record in records], ["7", "7", "7"])
        self.assertEqual([record.id.split(":")[4] for record in records], ["0", "0", "1"])
        self.assertEqual([record.value["meta"]["sequence"][26:36] for record in records], [f"{n:010X}" for n in range(3)])
        self.assertEqual(records[0].value["channel"], "STORE")
        self.assertEqual(records[0].value["customer_note"], "")
        self.assertEqual(records[2].value["gift_text"], "with 'love'")

    def test_old_values_and_odd_types(self):
        shipped = self.record("oms.OrderShipped").value
        self.assertEqual((shipped["pickup_time"], shipped["label_digest"]), (time(16, 30, 0, 1), b"\xde\xad\xbe\xef\0"))
        self.assertEqual(shipped["weight_kg"], 0.1)
        counted = self.record("oms.InventoryAdjusted", 2).value
        self.assertEqual((counted["previous_on_hand"], counted["on_hand"], counted["revision"]), (999999, 1000000, 2))
        self.assertEqual(self.record("oms.OrderCancelled").value["previous_status"], "PLACED")
        self.assertEqual(self.record("oms.ReturnReceived").value["received_at"], datetime(2026, 1, 5, 12, 0, 0, 500000))

    def test_truncates_and_messages_have_a_place(self):
        lines = sample()
        begin = next(n for n, line in enumerate(lines) if "\tBEGIN 758" in line)
        lines[begin + 1 : begin + 1] = ["0/19D2CE0\t758\ttable public.orders, public.order_lines: TRUNCATE: restart_seqs cascade\n"]
        lines[begin:begin] = [
            "0/19D2CE0\t758\tmessage: transactional: 1 prefix: p, sz: 1 content:x\n",
            "0/19D2CE0\t0\tmessage: transactional: 0 prefix: p, sz: 1 content:x\n",
        ]
        order = next(transaction for transaction in witness.transactions(lines) if transaction.xid == "758")
        first = rules.due(order, order.end - COMMIT_RECORD, SOURCE)[0]
        self.assertEqual(first.value["meta"]["sequence"][-21:], "0000000003-FFFFFFFFFF")
        self.assertIn(":public.orders:1:", first.id)

    def test_an_unchanged_value_out_of_line_is_the_old_one(self):
        lines = [
            line.replace("old-key: id[bigint]:8", "old-key: cancel_reason[text]:'long' id[bigint]:8")
            .replace("cancel_reason[text]:null", "cancel_reason[text]:unchanged-toast-datum")
            for line in sample()
            if "\t767\t" in line
        ]
        (cancelling,) = witness.transactions(lines)
        (cancelled,) = rules.due(cancelling, cancelling.end - COMMIT_RECORD, SOURCE)
        self.assertEqual(cancelled.value["reason"], "long")

    def test_a_dump_that_is_cut_or_foreign_is_refused(self):
        lines = sample()
        bad = [lines[:-1], lines[:1] + ["0/1\t755\tmessage: what?\n"], [line.replace("+00", "+01") for line in lines]]
        for dump in bad:
            with self.assertRaises(witness.Unreadable):
                list(witness.transactions(dump))


class Spoiled(unittest.TestCase):
    def setUp(self):
        self.lines = perfect()

    def assert_counts(self, verdict, counts):
        found = {counter: verdict[counter] for counter in oracle.COUNTERS if verdict[counter]}
        self.assertEqual(found, counts, verdict["findings"])

    def at(self, type, key=None):
        """The index of the first event of a type."""
        found = (
            index
            for index, line in enumerate(self.lines)
            if type in id_of(line) and key in (None, b64decode(line["key"]).decode())
        )
        return next(found)

    def spoil(self, type, **fields):
        index = self.at(type)
        record = [record for _, record in all_due()][index]
        meta = record.value["meta"] | fields.pop("meta", {})
        self.lines[index]["value"] = encoded(record.type, record.value | {"meta": meta} | fields)


class Mistakes(Spoiled):
    def assert_red(self, next_lsn=None, **counts):
        verdict = judge(self.lines, next_lsn)
        self.assert_counts(verdict, counts)
        self.assertEqual(sum(counts.values()), len(verdict["findings"]))

    def test_none(self):
        self.assert_red()
        verdict = judge(self.lines)
        self.assertEqual((verdict["events"], verdict["transactions"]), (19, 11))

    def test_nothing_seen(self):
        self.lines = []
        self.assert_red(loss=19)

    def test_one_event_lost_tears_its_transaction(self):
        del self.lines[self.at("OrderLineAdded")]
        self.assert_red(loss=1, torn=1)

    def test_whole_transaction_lost(self):
        self.lines = [line for line in self.lines if b64decode(line["key"]) != b"8"]
        self.assert_red(loss=2)

    def test_last_transaction_lost(self):
        self.lines.pop()
        self.assert_red(loss=1)

    def test_tombstone_lost(self):
        del self.lines[self.at(":oms.customers-state")]
        self.assert_red(loss=1, torn=1)

    def test_doubled(self):
        self.lines.append(self.lines[self.at("OrderPaid")] | {"offset": 100})
        self.assert_red(duplicates=1)

    def test_doubled_in_another_partition(self):
        self.lines.append(self.lines[self.at("OrderPaid")] | {"partition": 3, "offset": 0})
        self.assert_red(duplicates=1)

    def test_swapped(self):
        first, second = self.lines[self.at("OrderPlaced")], self.lines[self.at("OrderPaid")]
        first["offset"], second["offset"] = second["offset"], first["offset"]
        # The lines and the shipment between the two, and the paid one itself, all stand before the order.
        verdict = judge(self.lines)
        self.assertGreaterEqual(verdict["reordered"], 3)
        self.assertEqual(sum(verdict[counter] for counter in oracle.COUNTERS), verdict["reordered"])

    def test_neighbours_swapped(self):
        first = self.at("OrderLineAdded")
        self.lines[first]["offset"] += 1
        self.lines[first + 1]["offset"] -= 1
        self.assert_red(reordered=1)

    def test_key_in_two_partitions(self):
        self.lines[self.at("OrderCancelled")].update(partition=1, producer_partition=1)
        self.assert_red(reordered=1)

    def test_foreign_partitioner(self):
        for line in self.lines:
            line["producer_partition"] = 0 if b64decode(line["key"]) != b"8" else 1
        self.assert_red(wrong_values=2)

    def test_rolled_back_transaction_published(self):
        real = self.lines[self.at("ReturnReceived")]
        self.lines.append(with_id(real, "/oms/demo:0:0/19D4100:public.returns:0:oms/ReturnReceived/v1") | {"offset": 100})
        self.assert_red(phantom=1)

    def test_rolled_back_savepoint_published(self):
        line = self.lines[self.at("OrderLineAdded")]
        self.lines.append(with_id(line, id_of(line).replace("order_lines:0", "order_lines:2")) | {"offset": 100})
        self.assert_red(phantom=1)

    def test_events_before_the_first_and_behind_the_last_commit(self):
        line = self.lines[self.at("OrderLineAdded")]
        for lsn in ("0/1", "1/0"):
            id = f"/oms/demo:0:{lsn}:public.orders:0:oms/OrderPlaced/v1"
            self.lines.append(with_id(line, id) | {"offset": 100 + len(self.lines)})
        self.assert_red(phantom=2)

    def test_checkpoint_bounds_what_is_due(self):
        behind_cancelled, behind_grave = witness.lsn("0/19D4730"), witness.lsn("0/19D4A20")
        self.assert_red(next_lsn=behind_grave)
        # Seen behind the checkpoint: a customer and a tombstone, then the tombstone alone.
        self.assert_red(next_lsn=behind_cancelled, phantom=2)
        self.assert_red(next_lsn=behind_grave - 1, phantom=1)
        del self.lines[-2:]
        self.assert_red(next_lsn=behind_cancelled)
        self.assertEqual(judge(self.lines, behind_cancelled)["unpublished"], 2)
        self.assert_red(next_lsn=behind_grave, loss=2)

    def test_no_id(self):
        index = self.at("OrderCancelled")
        self.lines[index] = self.lines[index] | {"headers": []}
        self.assert_red(phantom=1, loss=1)

    def test_another_source(self):
        index = self.at("OrderCancelled")
        self.lines[index] = with_id(self.lines[index], id_of(self.lines[index]).replace("/oms/demo", "/oms/prod"))
        self.assert_red(phantom=1, loss=1)

    def test_other_lsn_of_one_event(self):
        index = self.at("OrderLineAdded")
        lsn = id_of(self.lines[index]).split(":")[2]
        other = f"0/{int(lsn[2:], 16) - 8:X}"
        self.lines[index] = with_id(self.lines[index], id_of(self.lines[index]).replace(lsn, other))
        self.assert_red(phantom=1, loss=1, torn=1)

    def test_wrong_field_of_every_kind(self):
        second = datetime(2026, 1, 2, 3, 4, 5, 7, timezone.utc)
        mistakes = [
            ("CustomerChanged", {"credit_limit": Decimal("-9999999999.98")}),
            ("CustomerChanged", {"created_at": second}),
            ("CustomerChanged", {"customer_id": "0A1B2C3D-0000-4000-8000-00000000000A"}),
            ("CustomerChanged", {"tier": "SILVER"}),
            ("CustomerChanged", {"phone": ""}),
            ("CustomerChanged", {"birth_date": date(1984, 3, 1)}),
            ("CustomerChanged", {"newsletter": False}),
            ("CustomerChanged", {"billing_address": "{}"}),
            ("OrderPlaced", {"customer_note": None}),
            ("OrderPlaced", {"channel": "WEB"}),
            ("OrderShipped", {"weight_kg": 0.10000000000000002}),
            ("OrderShipped", {"pickup_time": time(16, 30)}),
            ("OrderShipped", {"label_digest": b"\xde\xad\xbe\xef"}),
            ("InventoryAdjusted", {"previous_on_hand": 999998}),
            ("ReturnReceived", {"received_at": datetime(2026, 1, 5, 12)}),
            ("OrderPaid", {"meta": {"sequence": "00000000-00000000019D3990-0000000003-FFFFFFFFFF"}}),
            ("OrderPaid", {"meta": {"operation": "INSERT"}}),
            ("OrderPaid", {"meta": {"occurred_at": None}}),
            ("OrderPaid", {"meta": {"correlation_id": "r-5"}}),
        ]
        for type, fields in mistakes:
            with self.subTest(type=type, fields=fields):
                self.lines = perfect()
                self.spoil(type, **fields)
                self.assert_red(wrong_values=1)

    def test_wrong_key_header_timestamp(self):
        mistakes = [
            ("key", text64("9")),
            ("key", None),
            ("timestamp", 1),
            ("value", None),
        ]
        for name, value in mistakes:
            with self.subTest(name=name, value=value):
                self.lines = perfect()
                self.lines[self.at("OrderCancelled")][name] = value
                self.assert_red(wrong_values=1)

    def test_wrong_headers(self):
        line = self.lines[self.at("OrderCancelled")]
        right = line["headers"]
        for headers in (right[:1], right + right[1:2], right[:2] + [["correlation_id", text64("r-0")]]):
            with self.subTest(headers=headers):
                line["headers"] = headers
                self.assert_red(wrong_values=1)

    def test_tombstone_with_a_value(self):
        grave = self.lines[self.at(":oms.customers-state")]
        grave["value"] = self.lines[self.at("CustomerChanged")]["value"]
        self.assert_red(wrong_values=1)

    def test_undecodable(self):
        line = self.lines[self.at("OrderPlaced")]
        right = b64decode(line["value"])
        paid = b64decode(self.lines[self.at("OrderPaid")]["value"])
        for value in (b"", right[:-1], right + b"\0", b"\1" + right[1:], b"\0\0\0\0\1" + right[5:], paid):
            with self.subTest(value=value):
                line["value"] = b64encode(value).decode()
                self.assert_red(schema=1)


class Journal(Spoiled):
    def setUp(self):
        super().setUp()
        self.entries = entries()

    def entry(self, request):
        return next(entry for entry in self.entries if entry["request"] == request)

    def assert_red(self, unpublished=0, **counts):
        judged = oracle.Oracle(BY_ID.__getitem__, SOURCE)
        judged.unpublished = unpublished
        judged.judge_journal(self.entries, read(self.lines))
        self.assert_counts(judged.verdict(), counts)
        return [finding["what"] for finding in judged.findings]

    def test_none(self):
        self.assert_red()

    def test_lost(self):
        del self.lines[self.at("OrderLineAdded")]
        found = self.assert_red(journal_loss=1)
        self.assertEqual(found, ["writer 1 sequence 4 (Step, committed): 1 of 2 oms.OrderLineAdded"])

    def test_tombstone_lost(self):
        del self.lines[self.at(":oms.customers-state")]
        self.assert_red(journal_loss=1)

    def test_nothing_is_missed_before_it_is_due(self):
        self.lines = []
        self.assert_red(journal_loss=19)
        self.assert_red(unpublished=1)

    def test_aborted_transaction_published(self):
        self.entry("r-9").update(outcome="aborted", due=[])
        found = self.assert_red(journal_phantom=1)
        self.assertEqual(found, ["writer 1 sequence 10 (Step, aborted): 1 of 0 oms.OrderCancelled"])

    def test_unknown_request(self):
        self.entries.remove(self.entry("r-9"))
        self.assert_red(journal_phantom=1)

    def test_unsure_may_be_there_or_not(self):
        self.entry("r-9")["outcome"] = "unsure"
        self.assert_red()
        del self.lines[self.at("OrderCancelled")]
        self.assert_red()

    def test_doubled(self):
        self.lines.append(self.lines[self.at("OrderCancelled")] | {"offset": 100})
        self.assert_red(journal_duplicates=1)

    def test_older_transaction_behind_a_newer_one(self):
        first, second = self.lines[self.at("OrderPaid")], self.lines[self.at("OrderShipped")]
        first["offset"], second["offset"] = second["offset"], first["offset"]
        found = self.assert_red(journal_reordered=1)
        self.assertIn("writer 1 sequence 5 (Step, committed) behind sequence 7", found[0])


class State(Spoiled):
    def setUp(self):
        super().setUp()
        self.before, self.after = dumps()

    def assert_red(self, unpublished=0, **counts):
        judged = oracle.Oracle(BY_ID.__getitem__, SOURCE)
        judged.unpublished = unpublished
        judged.judge_state(self.before, self.after, read(self.lines))
        self.assert_counts(judged.verdict(), counts)

    def row(self, table, **key):
        rows = (line["row"] for line in self.after if line["table"] == table)
        return next(row for row in rows if all(row[name] == value for name, value in key.items()))

    def test_none(self):
        self.assert_red()

    def test_nothing_is_said_while_changes_are_on_their_way(self):
        self.lines = []
        self.assert_red(unpublished=1)

    def test_lost(self):
        for type, rows in (
            ("CustomerChanged", 0),  # The next one makes up for it.
            ("ReturnReceived", 2),  # The order is returned as well.
            ("OrderLineAdded", 1),
            ("PaymentRefunded", 1),
            (":oms.customers-state", 1),
        ):
            with self.subTest(type=type):
                self.lines = perfect()
                del self.lines[self.at(type)]
                self.assert_red(**({"state": rows} if rows else {}))

    def test_stock_tells_of_a_gap_that_later_events_cover(self):
        del self.lines[self.at("InventoryAdjusted", "3")]
        self.assert_red(state=2)

    def test_an_id_that_comes_again_is_told_already(self):
        self.lines.append(self.lines[self.at("InventoryAdjusted")] | {"offset": 100})
        self.lines.append(self.lines[self.at("OrderPaid")] | {"offset": 101})
        self.assert_red()

    def test_rolled_back_row_told(self):
        self.spoil("ReturnReceived", return_id=9)
        self.assert_red(state=2)

    def test_order_of_a_key(self):
        first, second = self.lines[self.at("OrderPaid")], self.lines[self.at("OrderShipped")]
        first["offset"], second["offset"] = second["offset"], first["offset"]
        # The return comes last in any case.
        self.assert_red()
        del self.lines[self.at("ReturnReceived")]
        self.assert_red(state=2)

    def test_every_compared_column(self):
        for table, columns in state.COLUMNS.items():
            for column in columns.keys() - rules.PRIMARY_KEYS[table]:
                with self.subTest(table=table, column=column):
                    self.before, self.after = dumps()
                    row = next(line["row"] for line in self.after if line["table"] == table)
                    row[column] = None if row[column] is not None else ABSENT[column]
                    self.assert_red(state=1)

    def test_silent_columns_are_not_compared(self):
        self.row("public.orders", id="7")["total_amount"] = "0.06"
        self.row("public.stock_levels", product_id="1")["reserved"] = "3"
        self.assert_red()

    def test_authorized_payments_are_not_told_of(self):
        self.after.append({"table": "public.payments", "row": {"id": "6", "status": "AUTHORIZED"}})
        self.assert_red()

    def test_undecodable_events_are_left_to_another_counter(self):
        line = self.lines[self.at("OrderCancelled")]
        line["value"] = line["value"][:-4]
        self.assert_red(state=1)


# Values for columns that are NULL in the sample's rows.
ABSENT = {
    "phone": "1",
    "cancel_reason": "no",
    "cancelled_at": "2026-01-02 03:04:05+00",
    "counted_at": "2026-01-02 03:04:05+00",
    "gift_text": "with love",
    "tracking_number": "1",
    "pickup_time": "12:00:00",
    "reason": "no",
    "refunded_amount": "1.00",
    "credit_limit": "1.00",
    "birth_date": "2000-01-01",
    "customer_note": "no",
    "requested_delivery_date": "2000-01-01",
    "request_id": "r-0",
}


if __name__ == "__main__":
    unittest.main()
