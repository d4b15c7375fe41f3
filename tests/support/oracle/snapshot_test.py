"""Every counter of snapshot.py is shown red by a seeded mistake.

The world: rows 2, 4, 6 and 8 were there. Range 1, up to 5, was read with an S that sees xids below 105; range 2 with one
that sees those below 120, by a second daemon, since the first was killed while it read it.

    2   nothing happened        4   updated by 100 (covered) and 110      6   deleted by 101: covered
    3   inserted by 111         8   moved to 1 by 112: covered at 8, published as a read at 1, then updated by 113
"""

import io
import json
import unittest
from base64 import b64decode, b64encode
from decimal import Decimal
from pathlib import Path

import fastavro

import oracle
import snapshot
import witness

META = json.loads((Path(__file__).parents[3] / "schemas/common/EventMeta/v1.avsc").read_text())
FIELDS = [
    {"name": "meta", "type": META},
    {"name": "id", "type": "long"},
    {"name": "mark", "type": "long"},
    {"name": "status", "type": "string"},
    {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
    {"name": "note", "type": ["null", "string"]},
]
SCHEMA = {"type": "record", "name": "shop.Order", "fields": FIELDS}
PARSED = fastavro.parse_schema(oracle._uuid_as_text(json.loads(json.dumps(SCHEMA))))
TOPICS = ("state", "facts", "updates")
STARTS = [1000, 2000]

WITNESS = [
    (100, ["UPDATE: id[bigint]:4 mark[bigint]:11"]),
    (101, ["DELETE: id[bigint]:6"]),
    (110, ["UPDATE: id[bigint]:4 mark[bigint]:12"]),
    (111, ["INSERT: id[bigint]:3 mark[bigint]:13"]),
    (112, ["UPDATE: old-key: id[bigint]:8 new-tuple: id[bigint]:1 mark[bigint]:14"]),
    (113, ["UPDATE: id[bigint]:1 mark[bigint]:15"]),
]
# What is told: topic, key, operation, mark. A READ with an LSN in its id is a key change published as one.
STATE = [
    ("state", 2, "READ", 0),
    ("state", 4, "READ", 11),
    ("state", 4, "UPDATE", 12),
    ("state", 3, "INSERT", 13),
    ("state", 1, "MOVED", 14),
    ("state", 1, "UPDATE", 15),
]
REST = [
    *(("facts", key, operation, mark) for _, key, operation, mark in STATE if operation != "UPDATE"),
    *(("updates", key, operation, mark) for _, key, operation, mark in STATE if operation == "UPDATE"),
]
TABLE = [(1, 15), (2, 0), (3, 13), (4, 12)]
PROGRESS = [(1500, None, ["5"], "105:105:"), (2500, ["5"], None, "120:120:")]
COPIES = [
    ("1.100", 7, ' WHERE ("id") < (\'5\'::bigint)'),
    ("1.200", 8, ' WHERE ("id") >= (\'5\'::bigint)'),
    ("2.100", 9, ' WHERE ("id") >= (\'5\'::bigint)'),
]


def text64(text):
    return b64encode(text.encode()).decode()


def dump(transactions):
    for xid, changes in transactions:
        yield f"0/{xid:X}0\t{xid}\tBEGIN {xid}\n"
        yield from (f"0/{xid:X}1\t{xid}\ttable public.orders: {change}\n" for change in changes)
        yield f"0/{xid:X}8\t{xid}\tCOMMIT {xid} (at 2026-01-01 00:00:00+00)\n"


def row(key, mark):
    return {"id": key, "mark": mark, "status": f"S{mark}", "amount": Decimal("12.50"), "note": None}


def line(topic, key, operation, mark, **other):
    value = None
    if operation != "TOMBSTONE":
        place = "public.orders:7:99" if operation in ("READ", "AGAIN") else "0/1A0:public.orders:0"
        meta = {"id": f"/shop/test:0:{place}:shop/Order/v1", "occurred_at": None, "source": "/shop/test", "sequence": ""}
        capture = "BACKFILL" if operation == "AGAIN" else "STREAM"
        meta |= {"operation": operation.replace("MOVED", "READ").replace("AGAIN", "READ"), "capture": capture}
        meta |= {"correlation_id": None, "traceparent": None}
        out = io.BytesIO()
        out.write(b"\0\0\0\0\7")
        fastavro.schemaless_writer(out, PARSED, {"meta": meta} | row(key, mark))
        value = b64encode(out.getvalue()).decode()
    record = {"topic": topic, "partition": 0, "offset": 0, "producer_partition": 0, "key": text64(str(key)), "value": value}
    return json.dumps(record | other)


def progress(records):
    for at, lower, upper, seen in records:
        read = seen and {"snapshot": seen, "lsn": "0/1"}
        value = {"version": 1, "lower": lower, "upper": upper, "rows": 1} | ({"read": read} if read else {})
        key = "progress/public.orders/9"
        yield json.dumps({"timestamp": at, "key": text64(key), "value": text64(json.dumps(value))})


def asked(asked_us, variant, state, x0, **more):
    value = {"version": 1, "schema": "public", "table": "orders", "variant": variant, "asked_us": asked_us}
    value = json.dumps(value | {"state": state, "x0": x0, "rows": 0} | more)
    yield json.dumps({"timestamp": asked_us // 1000, "key": text64("progress/public.orders"), "value": text64(value)})


def log(copies):
    for at, pid, where in copies:
        stamp = f"1970-01-01 00:00:0{at} UTC [{pid}] shop@shop LOG:  "
        yield stamp + f'execute s{pid}: COPY (SELECT "id" FROM ONLY "public"."orders"{where}) TO STDOUT (FORMAT binary)\n'
        yield "\tof several lines\n"


def judge(told=STATE + REST, transactions=WITNESS, table=TABLE, ranges=PROGRESS, copies=COPIES, lines=None, more=()):
    judged = snapshot.Oracle({7: SCHEMA}.__getitem__, TOPICS, 4, 10)
    judged.commit(witness.transactions(dump(transactions)))
    judged.progress([*progress(ranges), *more], STARTS)
    for text in lines or [line(*one) for one in told]:
        judged.record(text)
    judged.judge("\t".join([str(key), str(mark), f"S{mark}", "12.50", "\\N"]) + "\n" for key, mark in table)
    judged.judge_chunks(snapshot.copies(log(copies), STARTS))
    return judged.verdict()


def backfilled(told, state="done", x0=120, copies=(), ranges=((3500, None, None, None),), **more):
    """Rows 3 and on were changed before the backfill was asked for, at 3000; 1 after it, by 125."""
    first = asked(900_000, "initial", "done", 90)
    then = (asked(3_000_000, "backfill", state, x0, **more) for state in ("running", state))
    records = [*first, *next(then), *progress(ranges), *next(then)]
    transactions = [*WITNESS, (125, ["UPDATE: id[bigint]:1 mark[bigint]:17"])]
    late = [("state", 1, "UPDATE", 17), ("updates", 1, "UPDATE", 17)]
    told = [*STATE, *REST, *told, *late]
    return judge(told, transactions, [(1, 17), *TABLE[1:]], copies=[*COPIES, *copies], more=records)


def again(*rows):
    return [(topic, key, "AGAIN", mark) for topic in ("state", "facts") for key, mark in rows]


AGAIN = again((1, 15), (2, 0), (3, 13), (4, 12))


def without(*records):
    return [one for one in STATE + REST if one not in records]


class Verdicts(unittest.TestCase):
    def red(self, expected, verdict):
        counts = {counter: verdict[counter] for counter in snapshot.COUNTERS if verdict[counter]}
        self.assertEqual(counts, expected, verdict["findings"])
        self.assertEqual({finding["counter"] for finding in verdict["findings"]}, set(expected))

    def test_a_good_run_is_clean(self):
        verdict = judge()
        self.red({}, verdict)
        facts = {name: verdict[name] for name in snapshot.FACTS}
        self.assertEqual(
            facts,
            {"events": 12, "reads": 2, "rows_at_end": 4, "changes": 6, "keys_changed": 5, "ranges": 2, "ranges_with_s": 2}
            | {"s_judged": 7, "chunks": 3, "chunks_reread": 1, "in_flight": 1, "in_flight_max": 1}
            | {"backfills": 0, "backfill_rows": 0},
        )

    def test_a_backfill(self):
        verdict = backfilled(AGAIN)
        self.red({}, verdict)
        self.assertEqual((verdict["backfills"], verdict["backfill_rows"], verdict["reads"]), (1, 4, 2))
        # What has changed since it was asked for may be left out.
        self.red({}, backfilled(again((2, 0), (3, 13), (4, 12))))
        self.red({}, backfilled(again((2, 0), (4, 12)), where="id % 2 = 0"))

    def test_a_row_that_a_backfill_does_not_read(self):
        for key in (2, 4):
            rest = [one for one in AGAIN if one[1] != key]
            self.red({"backfill_missing": 1}, backfilled(rest))
            self.red({}, backfilled(rest, state="cancelled"))

    def test_a_row_that_a_backfill_reads_twice_or_should_not(self):
        self.red({"backfill_doubled": 1}, backfilled(AGAIN + again((2, 0))))
        self.red({"backfill_doubled": 1}, backfilled(again((2, 0), (3, 13), (4, 12)), where="id % 2 = 0"))

    def test_a_backfill_that_says_what_was_or_what_will_be(self):
        self.red({"backfill_wrong": 1}, backfilled(again((1, 15), (2, 0), (3, 13), (4, 11))))
        self.red({"backfill_wrong": 1}, backfilled(again((1, 17), (2, 0), (3, 13), (4, 12))))
        self.red({"backfill_wrong": 1}, backfilled(AGAIN + again((6, 0))))
        self.red({"backfill_wrong": 1}, backfilled(AGAIN[:-1]))

    def test_chunks_of_a_backfill(self):
        first = ("3.100", 11, " WHERE (\"id\") < ('4'::bigint)")
        rest = ("3.200", 11, " WHERE (\"id\") >= ('4'::bigint)")
        ranges = [(3500, None, ["4"], None), (3600, ["4"], None, None)]
        self.red({}, backfilled(AGAIN, copies=[first, rest], ranges=ranges))
        self.red({"snapshots_wrong": 2}, backfilled(AGAIN, copies=[first, rest], ranges=ranges[:1]))
        STARTS.append(3400)
        self.addCleanup(STARTS.pop)
        early = [(3300, None, ["4"], None), (3600, ["4"], None, None)]
        late = ("3.500", 12, first[2])
        self.red({"done_reread": 1}, backfilled(AGAIN, copies=[first, rest, late], ranges=early))

    def test_a_row_of_the_table_that_the_fold_lacks_or_has_otherwise(self):
        self.red({"differences": 1}, judge(table=[*TABLE[:3], (4, 11)]))
        self.red({"differences": 1}, judge(table=[*TABLE, (9, 0)]))
        self.red({"differences": 1}, judge(table=TABLE[1:]))

    def test_a_row_that_is_never_read(self):
        lost = without(("state", 2, "READ", 0), ("facts", 2, "READ", 0))
        self.red({"differences": 1, "history_wrong": 1, "facts_missing": 1}, judge(lost))

    def test_a_row_that_is_read_twice(self):
        twice = [("state", 2, "READ", 0), ("facts", 2, "READ", 0)]
        self.red({"history_wrong": 1, "facts_doubled": 1}, judge(STATE + REST + twice))

    def test_an_order_that_is_inserted_and_read(self):
        for topics in (("state", "facts"), ("facts",)):
            both = [(topic, 3, "READ", 13) for topic in topics]
            expected = {"facts_doubled": 1} | ({"history_wrong": 1} if "state" in topics else {})
            self.red(expected, judge(STATE + REST + both))

    def test_an_order_that_is_not_announced(self):
        self.red({"facts_missing": 1}, judge(without(("facts", 3, "INSERT", 13))))
        self.red({"facts_missing": 1}, judge(without(("facts", 1, "MOVED", 14))))

    def test_an_update_that_is_read_and_published(self):
        told = [("state", 4, "READ", 12), *without(("state", 4, "READ", 11))]
        self.red({"history_wrong": 1, "updates_wrong": 1}, judge(told))
        self.red({"updates_wrong": 1}, judge(STATE + REST + [("updates", 4, "UPDATE", 11)]))

    def test_an_update_that_is_neither(self):
        self.red({"updates_wrong": 1}, judge(without(("updates", 4, "UPDATE", 12))))
        gone = without(("state", 1, "UPDATE", 15), ("updates", 1, "UPDATE", 15))
        self.red({"differences": 1, "history_wrong": 1}, judge(gone))

    def test_updates_out_of_order(self):
        more = [*WITNESS, (114, ["UPDATE: id[bigint]:4 mark[bigint]:16"])]
        state = [*STATE, ("state", 4, "UPDATE", 16)]
        table = [*TABLE[:3], (4, 16)]
        self.red({}, judge([*state, *REST, ("updates", 4, "UPDATE", 16)], more, table))
        self.red({"updates_wrong": 1}, judge([*state, ("updates", 4, "UPDATE", 16), *REST], more, table))

    def test_a_row_that_begins_with_an_update(self):
        told = without(("state", 4, "READ", 11), ("facts", 4, "READ", 11))
        self.red({"history_wrong": 1, "facts_missing": 1}, judge(told))

    def test_a_delete_that_is_not_told_or_told_of_a_row_that_nobody_knows(self):
        told = [("state", 6, "READ", 0), ("facts", 6, "READ", 0)]
        verdict = judge(STATE + REST + told)
        self.red({"differences": 1, "history_wrong": 1}, verdict)
        self.red({"history_wrong": 1}, judge([*STATE, *REST, ("state", 6, "TOMBSTONE", None)]))

    def test_a_version_that_was_never_committed(self):
        told = [*STATE, *REST, ("state", 9, "INSERT", 99), ("state", 9, "TOMBSTONE", None)]
        self.red({"history_wrong": 1}, judge(told))
        self.red({"updates_wrong": 1}, judge([*STATE, *REST, ("updates", 9, "UPDATE", 99)]))

    def test_a_snapshot_that_disagrees_with_what_was_published(self):
        # It sees the insert of 3, the second update of 4, and the move to 1, all published behind it.
        self.red({"snapshots_wrong": 3}, judge(ranges=[(1500, None, ["5"], "113:113:"), PROGRESS[1]]))
        # It does not see the first update of 4, which the read holds.
        self.red({"snapshots_wrong": 1}, judge(ranges=[(1500, None, ["5"], "90:105:100"), PROGRESS[1]]))
        self.red({}, judge(ranges=[(1500, None, ["5"], None), PROGRESS[1]]))

    def test_ranges_with_a_gap(self):
        gap = [PROGRESS[0], (2500, ["6"], None, "120:120:")]
        self.red({"snapshots_wrong": 2}, judge(ranges=gap))

    def test_ranges_that_are_joined_later(self):
        self.red({}, judge(ranges=[*PROGRESS, (2600, None, None, None)]))

    def test_a_chunk_that_is_read_again_though_it_was_published(self):
        again = ("2.200", 9, " WHERE (\"id\") >= ('2'::bigint) AND (\"id\") < ('4'::bigint)")
        self.red({"done_reread": 1}, judge(copies=[*COPIES, again]))
        self.assertEqual(judge(copies=[COPIES[0], COPIES[2]])["chunks_reread"], 0)

    def test_a_value_that_is_no_avro_a_wrong_partition_another_key(self):
        lines = [line(*one) for one in STATE + REST]
        bare = json.loads(lines[0])
        self.red({"schema": 1}, judge(lines=[json.dumps(bare | {"producer_partition": 1}), *lines[1:]]))
        longer = b64encode(b64decode(bare["value"]) + b"\0").decode()
        for spoilt in ({"value": longer}, {"key": text64("9")}):
            verdict = judge(lines=[json.dumps(bare | spoilt), *lines[1:]])
            self.assertEqual(verdict["schema"], 1)


if __name__ == "__main__":
    unittest.main()
