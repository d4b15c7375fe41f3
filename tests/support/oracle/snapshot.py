"""Judges a snapshot that was taken while its table was written to and the daemon was killed again and again.

    java Reader.java read BROKERS STATE FACTS UPDATES | python snapshot.py --registry URL --topics STATE,FACTS,UPDATES
        --initial ROWS --keys KEYS --witness DUMP --table DUMP --progress FILE --log FILE --starts MS,MS,..

The table is `orders (id bigint PRIMARY KEY, mark bigint, ..)`. Every version of a row has a mark of its own, so that (id,
mark) names it; the rows that were there before the witness have the even ids up to 2 * ROWS and the mark 0. Three rules
publish it: STATE every insert, update, key change and read, and tombstones; FACTS inserts and reads; UPDATES updates.

`--witness` is the dump of a `test_decoding` slot (witness.py): the versions of each key in the order of their commits.
`--table` is `COPY orders TO STDOUT` at rest, `--progress` the checkpoint topic by Reader.java, nothing compacted, `--log`
the server's log with the statements of the daemon's role, `--starts` the moments at which daemons were started. The
counters:

differences      a row of the table that is not what STATE folded by key says, or a row of the fold that is not there
history_wrong    a key of STATE that is not, from some version on, all that was committed: first that version as a read, or
                 the birth of the row, then each later change, once and in order
facts_missing    a row that STATE read or saw inserted and FACTS does not announce; where STATE itself is wrong: a row that
                 is there, has never changed its key, and was not announced
facts_doubled    the same version announced twice, or a key more often than it came to life
updates_wrong    an update that is in the row as it was read and published as well, in neither, or out of order
snapshots_wrong  a change that the range's snapshot S, by its progress record, sees and that was published behind the read,
                 or the other way round; a key in no range
done_reread      a chunk of which a daemon before had published a part, read again
backfill_missing a row that was there while a backfill ran, unchanged since it was asked for, and was not read again; of a
                 backfill with a condition, one that fulfils it
backfill_doubled a row that was read again more often than there were backfills for it
backfill_wrong   a row that was read again as another than STATE had told it last, so that its fold goes back; or read
                 again for STATE and not for FACTS, or the other way round, or for UPDATES
schema           a value that its registered schema cannot decode to the last byte; a record on another partition than its
                 key's or under another key than its row's

After the first snapshot come backfills, one at a time, some with a condition `id % M = R`; the records of the table on the
checkpoint topic tell them apart. What they read is no fact, and no version: the other counters leave it out.

A chunk is a COPY in the server's log. `chunks_reread` counts those of which a later COPY read a part again; each was in
flight, read and not published, when its daemon was killed. Shares no code with the daemon.
"""

import argparse
import json
import re
import sys
from array import array
from base64 import b64decode
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from datetime import datetime, timezone

import witness
from oracle import Decoder, Registry

COUNTERS = (
    *("differences", "history_wrong", "facts_missing", "facts_doubled", "updates_wrong", "snapshots_wrong", "done_reread"),
    *("backfill_missing", "backfill_doubled", "backfill_wrong", "schema"),
)
# Changes are those of the witness; keys_changed, what had more than its first version; s_judged, the changes that were
# compared with an S; in_flight, chunks that were read and not published when a daemon was killed, all and at most at once;
# backfills, those that came to their end; backfill_rows, what was read again, as STATE has it.
FACTS = (
    *("events", "reads", "rows_at_end", "changes", "keys_changed", "ranges", "ranges_with_s", "s_judged", "chunks", "chunks_reread"),
    *("in_flight", "in_flight_max", "backfills", "backfill_rows"),
)
FINDINGS_MAX = 20
TABLE = "progress/public.orders"
COLUMNS = ("id", "mark", "status", "amount", "note")
LAST = float("inf")
# The kinds of a version: there from the beginning, inserted, updated, moved here, deleted, moved away.
THERE, INSERT, UPDATE, REKEY, DELETE, GONE = "there", "INSERT", "UPDATE", "REKEY", "DELETE", "GONE"
BIRTHS = (THERE, INSERT, REKEY)
DEATHS = (DELETE, GONE)
# What a record of STATE says: a version's kind, or that the row was read; MOVED is a key change published as a read.
READ, MOVED, TOMBSTONE = "READ", "MOVED", "TOMBSTONE"


class Snapshot:
    """A `pg_snapshot`, `xmin:xmax:xip,..`."""

    def __init__(self, text):
        xmin, xmax, running = text.split(":")
        self.xmin, self.xmax, self.running = int(xmin), int(xmax), {int(xid) for xid in running.split(",") if xid}

    def sees(self, xid):
        return xid < self.xmin or (xid < self.xmax and xid not in self.running)


class Ranges:
    """Disjoint ranges of keys, lower bound inclusive, upper exclusive, each with something about it."""

    def __init__(self):
        self.lowers, self.ranges = [], []

    def overlapping(self, lower, upper):
        first = max(bisect_right(self.lowers, lower) - 1, 0)
        found = self.ranges[first : bisect_left(self.lowers, upper)]
        return [one for one in found if one[0] < upper and lower < one[1]]

    def add(self, lower, upper, about):
        at = bisect_left(self.lowers, lower)
        self.lowers.insert(at, lower)
        self.ranges.insert(at, (lower, upper, about))

    def of(self, key):
        return next(iter(self.overlapping(key, key + 0.5)), None)

    def gaps(self):
        """Bounds at which one range ends and no other begins, or the other way round."""
        edges = Counter()
        for lower, upper, _ in self.ranges:
            edges[lower] += 1
            edges[upper] -= 1
        edges[-LAST] -= 1
        edges[LAST] += 1
        return sorted(bound for bound, count in edges.items() if count)


class Reading:
    """One snapshot of the table: the first, or a backfill."""

    def __init__(self, asked_us=0, condition=None):
        self.asked_us, self.state, self.x0 = asked_us, None, None
        found = re.fullmatch(r"id % (\d+) = (\d+)", condition or "id % 1 = 0")
        self.modulus, self.remainder = int(found[1]), int(found[2])
        self.published = Ranges()

    def takes(self, key):
        return key % self.modulus == self.remainder


class Oracle:
    def __init__(self, schema_by_id, topics, initial, keys):
        self.decoder = Decoder(schema_by_id)
        self.state, self.facts, self.updates = topics
        self.initial, self.keys = initial, keys
        self.counts = dict.fromkeys(COUNTERS + FACTS, 0)
        self.findings = []
        # Of the keys that changed, or of which anything but one plain read of the first version was published.
        self.changes = defaultdict(list)
        self.told = {topic: defaultdict(list) for topic in topics}
        # The plain reads of first versions, by key: nearly all of a large table.
        self.plain = {topic: bytearray(keys + 1) for topic in topics}
        # A hash of each row as STATE folds.
        self.fold = array("q", bytes(8 * (keys + 1)))
        self.readings = [Reading()]
        # How often each key was read again.
        self.again = {topic: bytearray(keys + 1) for topic in topics}

    def verdict(self):
        return self.counts | {"findings": self.findings}

    def find(self, counter, what, count=1):
        self.counts[counter] += count
        if sum(finding["counter"] == counter for finding in self.findings) < FINDINGS_MAX:
            self.findings.append({"counter": counter, "what": what})

    # Evidence.

    def commit(self, transactions):
        """The changes of the table, by key, in the order in which they were committed."""
        for transaction in transactions:
            xid = int(transaction.xid)
            for change in transaction.changes:
                if change.table != "public.orders":
                    continue
                self.counts["changes"] += 1
                old, new = (int(row["id"]) if "id" in row else None for row in (change.old, change.new))
                if change.operation == "DELETE":
                    self.changes[old].append((DELETE, None, xid))
                elif change.operation == "UPDATE" and old is not None and old != new:
                    self.changes[old].append((GONE, None, xid))
                    self.changes[new].append((REKEY, int(change.new["mark"]), xid))
                else:
                    self.changes[new].append((change.operation, int(change.new["mark"]), xid))

    def record(self, line):
        """A line of Reader.java; those of a key come in the order of its partition."""
        record = json.loads(line)
        self.counts["events"] += 1
        topic, place = record["topic"], f"{record['topic']}-{record['partition']}@{record['offset']}"
        if record["partition"] != record["producer_partition"]:
            self.find("schema", f"{place}: its key belongs to partition {record['producer_partition']}")
        key = int(b64decode(record["key"]))
        if record["value"] is None:
            self.tell(topic, key, TOMBSTONE, None)
            if topic == self.state:
                self.fold[key] = 0
            return
        try:
            _, fields = self.decoder.decode(b64decode(record["value"]))
        except Exception as error:  # Whatever a decoder says of hostile bytes.
            self.find("schema", f"{place}: {type(error).__name__}: {error}")
            return
        if fields["id"] != key:
            self.find("schema", f"{place}: the row {fields['id']} under the key {key}")
            return
        meta = fields["meta"]
        operation = meta["operation"]
        if meta["capture"] == "BACKFILL":
            self.read_again(topic, key, fields)
            return
        if operation == READ:
            # A read's id has the table where a change's has its LSN.
            read = meta["id"].split(":")[2] == "public.orders"
            operation = READ if read else MOVED
            self.counts["reads"] += topic == self.state and read
        self.tell(topic, key, operation, fields["mark"])
        if topic == self.state:
            self.fold[key] = hash_of(fields)

    def read_again(self, topic, key, fields):
        """All that a backfill's read holds was told before it, and what it does not hold has left it out."""
        self.again[topic][key] += 1
        if topic == self.state:
            self.counts["backfill_rows"] += 1
            if self.fold[key] != hash_of(fields):
                self.find("backfill_wrong", f"key {key}: read again as {fields['mark']}, which STATE has not told last")

    def tell(self, topic, key, operation, mark):
        plain, told = self.plain[topic], self.told[topic]
        if operation == READ and mark == 0 and not plain[key] and key not in told:
            plain[key] = 1
        else:
            if plain[key] and key not in told:
                told[key].append((READ, 0))
            told[key].append((operation, mark))

    def history(self, topic, key):
        told = self.told[topic].get(key)
        return told if told is not None else [(READ, 0)] * self.plain[topic][key]

    def progress(self, lines, starts):
        """The checkpoint topic: the ranges that were published, by which daemon and with which snapshot."""
        for line in lines:
            record = json.loads(line)
            key = b64decode(record["key"]).decode()
            if not key.startswith(TABLE) or record["value"] is None:
                continue
            value = json.loads(b64decode(record["value"]))
            if key == TABLE:
                self.asked(value)
                continue
            published = self.readings[-1].published
            lower, upper = bounds(value["lower"], value["upper"])
            # What is there already was joined from ranges that follow each other, or its snapshot is forgotten.
            if not published.overlapping(lower, upper):
                read = value.get("read")
                snapshot = Snapshot(read["snapshot"]) if read else None
                daemon = bisect_right(starts, record["timestamp"])
                published.add(lower, upper, (daemon, snapshot))
                self.counts["ranges"] += 1
                self.counts["ranges_with_s"] += snapshot is not None
        ended = [reading for reading in self.readings[1:] if reading.state == "done"]
        self.counts["backfills"] = len(ended)
        for reading in self.readings[:1] + ended:
            for bound in reading.published.gaps():
                self.find("snapshots_wrong", f"the published ranges do not meet at {bound}")

    def asked(self, record):
        """The record of the table: of the reading that is under way, or of another."""
        last = self.readings[-1]
        if record["variant"] == "backfill" and record["asked_us"] != last.asked_us:
            last = Reading(record["asked_us"], record.get("where"))
            self.readings.append(last)
        last.asked_us, last.state, last.x0 = record["asked_us"], record["state"], record.get("x0")

    # Judgement.

    def judge(self, table):
        self.judge_backfills()
        self.judge_fold(table)
        for key in range(2, 2 * self.initial + 1, 2):
            if key not in self.changes and not all(self.is_plain(key, topic) for topic in self.told):
                self.judge_key(key, [(THERE, 0, None)])
        for key in self.changes.keys() | set().union(*self.told.values()):
            if key in self.changes or key % 2 or key > 2 * self.initial:
                first = [(THERE, 0, None)] if key % 2 == 0 and key <= 2 * self.initial else []
                self.judge_key(key, first + self.changes.get(key, []))
        self.counts["keys_changed"] = len(self.changes)

    def is_plain(self, key, topic):
        """Read once in its first version, and nothing else."""
        return key not in self.told[topic] and self.plain[topic][key] == (topic != self.updates)

    def judge_backfills(self):
        asked, rest = self.readings[1:], [self.again[self.facts], self.again[self.updates]]
        for key, told in enumerate(self.again[self.state]):
            if [told, 0] != [again[key] for again in rest]:
                self.find("backfill_wrong", f"key {key}: read again {told} times, for FACTS and UPDATES otherwise")
            taken = [reading for reading in asked if reading.takes(key)]
            if told > len(taken):
                self.find("backfill_doubled", f"key {key}: read again {told} times, due {len(taken)}", told - len(taken))
            elif told < len(taken):
                due = sum(reading.state == "done" and self.is_there(key, reading.x0) for reading in taken)
                if told < due:
                    self.find("backfill_missing", f"key {key}: read again {told} times, due {due}", due - told)

    def is_there(self, key, xid):
        """Whether the row was there, unchanged, from this transaction on to the end."""
        changes = self.changes.get(key)
        if not changes:
            return key > 0 and key % 2 == 0 and key <= 2 * self.initial
        return changes[-1][0] not in DEATHS and all(change[2] < xid for change in changes)

    def judge_fold(self, table):
        for line in table:
            row = [None if value == "\\N" else value for value in line.rstrip("\n").split("\t")]
            key = int(row[0])
            self.counts["rows_at_end"] += 1
            if self.fold[key] != row_hash(key, int(row[1]), *row[2:]):
                what = "another" if self.fold[key] else "no row"
                self.find("differences", f"key {key}: the table has {row}, the fold has {what}")
            self.fold[key] = 0
        for key, there in enumerate(self.fold):
            if there:
                self.find("differences", f"key {key}: a row that is not in the table")

    def judge_key(self, key, versions):
        state = self.history(self.state, key)
        begins = len(versions) - len(state)
        shown = lambda: f"key {key}: told {brief(state)}, committed {brief(versions)}"
        if is_suffix(versions, state):
            covered = begins + (bool(state) and state[0][0] == READ)
            self.judge_snapshot(key, versions, covered, shown)
            self.judge_facts(key, [one for one in state if one[0] in (INSERT, READ, MOVED)])
            updates = [mark for kind, mark, _ in versions[covered:] if kind == UPDATE]
        else:
            self.find("history_wrong", shown())
            self.judge_facts_alone(key, versions)
            read = next((mark for kind, mark in state[:1] if kind == READ), LAST)
            held = next((at for at, (_, mark, _) in enumerate(versions) if mark == read), -1)
            # What the read holds, and what was told twice, is wrong in any case.
            updates = [mark for kind, mark, _ in versions[held + 1 :] if kind == UPDATE]
            told = {mark for _, mark in self.history(self.updates, key)}
            updates = [mark for mark in updates if mark in told]
        self.judge_updates(key, updates)

    def judge_snapshot(self, key, versions, covered, shown):
        found = self.readings[0].published.of(key)
        snapshot = found and found[2][1]
        if not snapshot:
            return
        for at, (kind, _, xid) in enumerate(versions):
            if kind != THERE:
                self.counts["s_judged"] += 1
                if snapshot.sees(xid) != (at < covered):
                    self.find("snapshots_wrong", f"{shown()}, {covered} covered; S sees {xid}: {snapshot.sees(xid)}")
                    return

    def judge_facts(self, key, due):
        facts = self.history(self.facts, key)
        missing, more = Counter(due) - Counter(facts), Counter(facts) - Counter(due)
        for counter, marks in (("facts_missing", missing), ("facts_doubled", more)):
            if marks:
                self.find(counter, f"key {key}: due {brief(due)}, announced {brief(facts)}", marks.total())

    def judge_facts_alone(self, key, versions):
        """By what was committed alone, where STATE cannot say what was due."""
        facts = self.history(self.facts, key)
        kinds = [kind for kind, *_ in versions]
        births = sum(kind in BIRTHS for kind in kinds)
        twice = len(facts) - len({mark for _, mark in facts})
        what = f"key {key}: announced {brief(facts)}, committed {brief(versions)}"
        if doubled := max(len(facts) - births, twice):
            self.find("facts_doubled", what, doubled)
        if not facts and kinds and kinds[-1] not in DEATHS and REKEY not in kinds:
            self.find("facts_missing", what)

    def judge_updates(self, key, due):
        told = [mark for _, mark in self.history(self.updates, key)]
        if told != due:
            wrong = (Counter(told) - Counter(due)) + (Counter(due) - Counter(told))
            self.find("updates_wrong", f"key {key}: due {due}, told {told}", wrong.total() or 1)

    def judge_chunks(self, copies):
        """`copies` in the order of the log: when, the daemon that read, and its bounds."""
        asked = [reading.asked_us / 1000 for reading in self.readings]
        # The first reading is asked for behind the first start.
        of = lambda at: self.readings[max(bisect_right(asked, at) - 1, 0)]
        copies = [(of(at), *copy) for at, *copy in copies]
        self.counts["chunks"] = len(copies)
        per_daemon = Counter()
        for at, (reading, daemon, lower, upper) in enumerate(copies):
            parts = reading.published.overlapping(lower, upper)
            if any(by < daemon for _, _, (by, _) in parts):
                self.find("done_reread", f"{brief_range(lower, upper)} by daemon {daemon}, published before")
            if not any(by == daemon for _, _, (by, _) in parts):
                per_daemon[daemon] += 1
                later = copies[at + 1 :]
                again = (other is reading and begin < upper and lower < end for other, _, begin, end in later)
                self.counts["chunks_reread"] += any(again)
        self.counts["in_flight"] = per_daemon.total()
        self.counts["in_flight_max"] = max(per_daemon.values(), default=0)


def is_suffix(versions, told):
    """Whether the records of a key say all that was committed from some version on, beginning with a read or a birth."""
    begins = len(versions) - len(told)
    if begins < 0:
        return False
    if not told:
        return not versions or versions[-1][0] in DEATHS
    said = {INSERT: (INSERT,), UPDATE: (UPDATE,), REKEY: (REKEY, MOVED), DELETE: (TOMBSTONE,), GONE: (TOMBSTONE,), THERE: ()}
    for at, ((kind, mark, _), (operation, told_mark)) in enumerate(zip(versions[begins:], told)):
        read = at == 0 and operation == READ and kind not in DEATHS
        if mark != told_mark or not (read or operation in said[kind]):
            return False
        if at == 0 and not read and kind not in BIRTHS:
            return False
    return True


def hash_of(fields):
    return row_hash(fields["id"], fields["mark"], fields["status"], str(fields["amount"]), fields["note"])


def row_hash(*row):
    # Zero is a row that is not there.
    return hash(row) or 1


def bounds(lower, upper):
    return (int(lower[0]) if lower else -LAST, int(upper[0]) if upper else LAST)


def brief(versions):
    return " ".join(f"{kind}{'' if mark is None else f' {mark}'}" for kind, mark, *_ in versions) or "nothing"


def brief_range(lower, upper):
    return f"[{lower}, {upper})"


_LOGGED = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) UTC \[(\d+)\] .*?LOG: ")
_COPY = re.compile(r"(?:statement|execute \w+): COPY \(SELECT .* FROM ONLY \"public\"\.\"orders\"(.*)")
_BOUND = re.compile(r"\(\"id\"\) (>=|<) \('(-?\d+)'::bigint\)")


def copies(log, starts):
    """The chunks that the server was asked for. A session is the daemon's that ran when it said its first word."""
    daemons = {}
    for line in log:
        logged = _LOGGED.match(line)
        if not logged:
            continue
        at = datetime.fromisoformat(logged[1]).replace(tzinfo=timezone.utc)
        at = round(at.timestamp() * 1000)
        daemon = daemons.setdefault(logged[2], bisect_right(starts, at))
        if copy := _COPY.search(line):
            sides = {side: [bound] for side, bound in _BOUND.findall(copy[1])}
            yield at, daemon, *bounds(sides.get(">="), sides.get("<"))


def main():
    arguments = argparse.ArgumentParser()
    for name in ("registry", "topics", "witness", "table", "progress", "log", "starts"):
        arguments.add_argument(f"--{name}", required=True)
    for name in ("initial", "keys"):
        arguments.add_argument(f"--{name}", type=int, required=True)
    arguments = arguments.parse_args()
    starts = [int(start) for start in arguments.starts.split(",")]
    oracle = Oracle(Registry(arguments.registry), arguments.topics.split(","), arguments.initial, arguments.keys)
    with open(arguments.witness, encoding="utf-8", newline="\n") as dump:
        oracle.commit(witness.transactions(dump))
    with open(arguments.progress, encoding="utf-8") as lines:
        oracle.progress(lines, starts)
    for line in sys.stdin:
        oracle.record(line)
    with open(arguments.table, encoding="utf-8", newline="\n") as table:
        oracle.judge(table)
    with open(arguments.log, encoding="utf-8", errors="replace") as log:
        oracle.judge_chunks(copies(log, starts))
    verdict = oracle.verdict()
    print(json.dumps(verdict, indent=2))
    sys.exit(any(verdict[counter] for counter in COUNTERS))


if __name__ == "__main__":
    main()
