"""Compares what a read_committed subscriber saw with what three witnesses say of the source.

    python oracle.py --registry URL --records FILE --witness DUMP [--journal FILE] [--before DUMP --after DUMP]
        --source-id ID [--next-lsn LSN] [--topic-prefix P]

`--records` are the lines of Reader.java. Postgres' own decoder: `--witness`, the dump of a `test_decoding` slot
(witness.py). The workload: `--journal` (journal.py). The state: `--before` and `--after`, the tables' rows when the
slot came to be and at rest (state.py). Shares no code with the daemon: the rules are restated in rules.py, Avro is read
by fastavro. Prints the verdict as JSON; exit code 0 only when each of the counters below is 0.

An event belongs to the transaction whose commit record lies where its `ce_id` says: behind the commit before it and
behind the transaction's own last change, before the transaction's end. With `--next-lsn`, the checkpoint's, everything
before it is due and nothing behind it may be seen: events and checkpoint are one Kafka transaction. The counters:

loss          a record due that is not on its topic
phantom       a record that no committed change calls for, a rolled back one's among them
duplicates    a `ce_id` more than once on one topic
reordered     a record that stands before an earlier one of its key, or in another partition than it
torn          a source transaction of which some records are there and some are not
wrong_values  key, header, timestamp, partition or field that differs from the source's
schema        a value that its registered schema cannot decode to the last byte, or of another type than due

Without the decoder, from the journal; findings name writer and sequence. What is not due yet is not missed:

journal_loss        a record that a committed transaction calls for and that is not there
journal_phantom     a record that no transaction calls for, or an aborted one alone
journal_duplicates  a record more than the transaction calls for
journal_reordered   a record that stands before one of its key from an earlier transaction of the same writer

And from the tables, once everything is published:

state               a row that is not what its events add up to, or an event that does not go on where the last one ended
"""

import argparse
import io
import json
import sys
import urllib.request
from base64 import b64decode
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from itertools import takewhile

import fastavro

import journal
import rules
import state
import witness

COUNTERS = (
    *("loss", "phantom", "duplicates", "reordered", "torn", "wrong_values", "schema"),
    *("journal_loss", "journal_phantom", "journal_duplicates", "journal_reordered", "state"),
)
# Transactions are those that yield events; adjacent, where the commit record starts at the end of the one before.
# Unpublished are the records that will be due behind the checkpoint.
FACTS = ("events", "transactions", "adjacent_commits", "unpublished")
# Of each counter.
FINDINGS_MAX = 20
EPOCH = datetime.fromtimestamp(0, timezone.utc)


class Seen:
    """One record as the reader saw it."""

    __slots__ = (
        *("topic", "partition", "offset", "timestamp", "producer_partition", "key", "headers", "value"),
        *("id", "type", "mark"),
    )

    def __init__(self, line):
        record = json.loads(line)
        self.topic = record["topic"]
        self.partition = record["partition"]
        self.offset = record["offset"]
        self.timestamp = record["timestamp"]
        self.producer_partition = record["producer_partition"]
        self.key = _bytes(record["key"])
        self.headers = [(name, _bytes(value)) for name, value in record["headers"]]
        self.value = _bytes(record["value"])
        headers = dict(self.headers)
        self.id = headers.get("ce_id")
        # Without its version, `.v1`.
        self.type = headers.get("ce_type", b"").decode(errors="replace").rpartition(".")[0]
        self.mark = (headers.get("correlation_id") or self.key or b"").decode(errors="replace")

    def place(self):
        return f"{self.topic}-{self.partition}@{self.offset}"


class Registry:
    """Schemas by id, as the registry serves them."""

    def __init__(self, url):
        self.url = url.rstrip("/")

    def __call__(self, id):
        with urllib.request.urlopen(f"{self.url}/schemas/ids/{id}", timeout=30) as answer:
            return json.loads(json.load(answer)["schema"])


class Decoder:
    """Confluent's wire format: a zero byte, the schema's id in four bytes, Avro."""

    def __init__(self, schema_by_id):
        self.schema_by_id = schema_by_id
        self.parsed = {}

    def decode(self, value):
        """The Avro full name and the fields; raises whatever is wrong."""
        if len(value) < 5 or value[0] != 0:
            raise ValueError("not in Confluent's wire format")
        id = int.from_bytes(value[1:5], "big")
        if id not in self.parsed:
            self.parsed[id] = fastavro.parse_schema(_uuid_as_text(self.schema_by_id(id)))
        schema = self.parsed[id]
        rest = io.BytesIO(value)
        rest.seek(5)
        fields = fastavro.schemaless_reader(rest, schema, None)
        if rest.tell() != len(value):
            raise ValueError(f"{len(value) - rest.tell()} bytes behind the record")
        return schema["name"], fields


class Oracle:
    def __init__(self, schema_by_id, source_id, topic_prefix="", next_lsn=None):
        self.decoder = Decoder(schema_by_id)
        self.next_lsn = next_lsn
        self.source_id = source_id
        self.topic_prefix = topic_prefix
        self.counts = dict.fromkeys(COUNTERS, 0)
        self.findings = []
        self.events = self.transactions = self.adjacent_commits = self.unpublished = 0
        self.last_end = 0
        self.last_of_key = {}

    def judge(self, transactions, records):
        """`transactions` in commit order, by Postgres' decoder; `records` as `read` gives them."""
        by_commit = self.by_commit(records)
        commits = sorted(by_commit, reverse=True)
        for transaction in transactions:
            group = list(takewhile(lambda lsn: lsn < transaction.end, reversed(commits)))
            del commits[len(commits) - len(group):]
            self.judge_transaction(transaction, [(lsn, by_commit.pop(lsn)) for lsn in group])
        for lsn in reversed(commits):
            for seen in by_commit[lsn]:
                self.find("phantom", f"{seen.place()}: {_shown(seen.id)} is from behind the last commit")

    def judge_journal(self, entries, records):
        journal.judge(entries, records, self.unpublished == 0, self.find)

    def judge_state(self, before, after, records):
        if self.unpublished == 0:
            state.judge(before, after, records, self.decoder, self.find)

    def verdict(self):
        verdict = {name: getattr(self, name) for name in FACTS}
        return verdict | self.counts | {"findings": self.findings}

    def by_commit(self, records):
        """The records by the commit LSN in their id; what has none that can be read is a phantom."""
        by_commit = defaultdict(list)
        for seen in records:
            self.events += 1
            try:
                source, _epoch, lsn, _rest = seen.id.decode().split(":", 3)
                if source != self.source_id:
                    raise ValueError
                by_commit[witness.lsn(lsn)].append(seen)
            except (AttributeError, ValueError):
                self.find("phantom", f"{seen.place()}: no id of this source, but {_shown(seen.id)}")
        return by_commit

    def judge_transaction(self, transaction, groups):
        """`groups` are the records between the last commit and this one's end, by their commit LSN."""
        fits = [lsn for lsn, _ in groups if lsn > transaction.last_change]
        commit_lsn = fits[-1] if fits else transaction.end
        due = rules.due(transaction, commit_lsn, self.source_id, self.topic_prefix)
        if self.next_lsn is not None and transaction.end > self.next_lsn:
            self.unpublished += len(due)
            due = []
        self.transactions += bool(due)
        self.adjacent_commits += commit_lsn == self.last_end
        self.last_end = transaction.end
        first, there = {}, 0
        for lsn, group in groups:
            for seen in group:
                if first.setdefault((seen.topic, seen.id), seen) is not seen:
                    self.find("duplicates", f"{seen.place()}: {_shown(seen.id)} is at {first[seen.topic, seen.id].place()}")
        for record in due:
            seen = first.pop((record.topic, record.id.encode()), None)
            if seen is None:
                self.find("loss", f"{record.topic}: {record.id}")
            else:
                there += 1
                self.compare(record, seen, transaction)
                self.check_order(record, seen)
        if 0 < there < len(due):
            self.find("torn", f"{there} of {len(due)} records of the transaction {transaction.xid} are there")
        for seen in first.values():
            self.find("phantom", f"{seen.place()}: {_shown(seen.id)}")

    def check_order(self, record, seen):
        last = self.last_of_key.get((record.topic, record.key))
        if last and (last[0] != seen.partition or last[1] > seen.offset):
            self.find("reordered", f"{seen.place()}: {record.id} after partition {last[0]} offset {last[1]}")
        else:
            self.last_of_key[record.topic, record.key] = (seen.partition, seen.offset)

    def compare(self, record, seen, transaction):
        wrong = []
        if seen.key != record.key.encode():
            wrong.append(("key", record.key, seen.key))
        headers = sorted((name, value.encode()) for name, value in record.headers.items())
        if sorted(seen.headers) != headers:
            wrong.append(("headers", headers, seen.headers))
        if seen.partition != seen.producer_partition:
            wrong.append(("partition", seen.producer_partition, seen.partition))
        # The commit time in whole milliseconds.
        milliseconds = (transaction.committed_at - EPOCH) // timedelta(milliseconds=1)
        if seen.timestamp != milliseconds:
            wrong.append(("timestamp", milliseconds, seen.timestamp))
        if record.value is None or seen.value is None:
            if record.value is not seen.value:
                wrong.append(("tombstone", record.value is None, seen.value is None))
        else:
            wrong += self.compare_value(record, seen)
        for what, expected, found in wrong:
            self.find("wrong_values", f"{seen.place()}: {record.id}: {what} is {found!r}, expected {expected!r}")

    def compare_value(self, record, seen):
        try:
            name, fields = self.decoder.decode(seen.value)
        except Exception as error:  # Whatever a decoder says of hostile bytes.
            self.find("schema", f"{seen.place()}: {record.id}: {type(error).__name__}: {error}")
            return []
        if name != record.type:
            self.find("schema", f"{seen.place()}: {record.id}: a {name}")
            return []
        if fields == record.value:
            return []
        return [
            (f"field {field}", record.value.get(field), fields.get(field))
            for field in sorted(fields.keys() | record.value.keys())
            if field not in fields or field not in record.value or fields[field] != record.value[field]
        ]

    def find(self, counter, what, count=1):
        self.counts[counter] += max(count, 0)
        if count > 0 and sum(finding["counter"] == counter for finding in self.findings) < FINDINGS_MAX:
            self.findings.append({"counter": counter, "what": what})


def read(lines):
    """The lines of Reader.java as records in the order of their partitions."""
    return sorted(map(Seen, lines), key=lambda seen: (seen.topic, seen.partition, seen.offset))


def _bytes(text):
    return None if text is None else b64decode(text)


def _shown(id):
    return None if id is None else id.decode(errors="replace")


def _uuid_as_text(schema):
    """The same schema with uuids as plain strings: fastavro would forgive a wrong spelling of one."""
    if isinstance(schema, dict):
        return {name: _uuid_as_text(part) for name, part in schema.items() if (name, part) != ("logicalType", "uuid")}
    return [_uuid_as_text(part) for part in schema] if isinstance(schema, list) else schema


def main():
    arguments = argparse.ArgumentParser()
    for name in ("registry", "records", "witness", "source-id"):
        arguments.add_argument(f"--{name}", required=True)
    for name in ("journal", "before", "after"):
        arguments.add_argument(f"--{name}")
    arguments.add_argument("--next-lsn", type=witness.lsn)
    arguments.add_argument("--topic-prefix", default="")
    arguments = arguments.parse_args()
    registry = Registry(arguments.registry)
    oracle = Oracle(registry, arguments.source_id, arguments.topic_prefix, arguments.next_lsn)
    with open(arguments.records, encoding="utf-8") as lines:
        records = read(lines)
    with open(arguments.witness, encoding="utf-8", newline="\n") as dump:
        oracle.judge(witness.transactions(dump), records)
    if arguments.journal:
        with open(arguments.journal, encoding="utf-8") as entries:
            oracle.judge_journal(map(json.loads, entries), records)
    if arguments.before:
        with open(arguments.before, encoding="utf-8") as before, open(arguments.after, encoding="utf-8") as after:
            oracle.judge_state(map(json.loads, before), map(json.loads, after), records)
    verdict = oracle.verdict()
    print(json.dumps(verdict, indent=2))
    sys.exit(any(verdict[counter] for counter in COUNTERS))


if __name__ == "__main__":
    main()
