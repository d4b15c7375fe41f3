"""The workload's own account of its transactions, compared with what subscribers saw.

A line of the journal is a transaction: `request`, `writer`, `sequence`, `operation`, `outcome` (committed, aborted or
unsure) and `due`, a list of `event`, `count` and `mark`. The writers count what they did in the business: neither the
connector's rules nor Postgres' decoder are asked. A record shows its mark: the correlation id, which is the request id
of the transaction that wrote its row, or else the key.
"""

from collections import Counter


def judge(entries, records, caught_up, find):
    """`records` stand in the order of their partitions. Unless the daemon has `caught_up`, nothing is due yet."""
    due, possible, by_request = Counter(), Counter(), {}
    for entry in entries:
        by_request[entry["request"]] = entry
        for part in entry["due"]:
            possible[part["mark"], part["event"]] += part["count"]
            if entry["outcome"] == "committed" and caught_up:
                due[part["mark"], part["event"]] += part["count"]
    seen = Counter((record.mark, record.type) for record in records)
    for mark, event in sorted(possible.keys() | seen.keys()):
        most, there = possible[mark, event], seen[mark, event]
        what = f"{_named(by_request, mark)}: {there} of {most} {event}"
        find("journal_loss", what, due[mark, event] - there)
        find("journal_duplicates" if most else "journal_phantom", what, there - most)
    _check_order(by_request, records, find)


def _check_order(by_request, records, find):
    """The transactions of one writer follow each other, so its sequence never falls within a key."""
    last = {}
    for record in records:
        entry = by_request.get(record.mark)
        if entry:
            key = (record.topic, record.key, entry["writer"])
            before = last.setdefault(key, entry)
            if entry["sequence"] < before["sequence"]:
                what = f"{record.place()}: {_named(by_request, record.mark)} behind sequence {before['sequence']}"
                find("journal_reordered", what)
            else:
                last[key] = entry


def _named(by_request, mark):
    entry = by_request.get(mark)
    return "writer {writer} sequence {sequence} ({operation}, {outcome})".format(**entry) if entry else f"mark {mark}"
