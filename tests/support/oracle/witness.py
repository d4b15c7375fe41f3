"""Postgres' own account of what was committed: the text output of a `test_decoding` slot, parsed.

The dump is `COPY (SELECT lsn, xid, data FROM pg_logical_slot_get_changes(SLOT, NULL, NULL, 'include-xids', '1',
'skip-empty-xacts', '1', 'include-timestamp', 'on')) TO STDOUT`, taken with TimeZone UTC and DateStyle ISO.
"""

import re
from datetime import datetime, timezone


class Change:
    """One row change. `old` holds what the replica identity kept; columns that were NULL there are missing in it.

    A truncate has neither row, and one change for each table. A message of `pg_logical_emit_message` has no table.
    """

    __slots__ = ("table", "operation", "old", "new")

    def __init__(self, table, operation, old, new):
        self.table, self.operation, self.old, self.new = table, operation, old, new


class Transaction:
    """`end` is the LSN behind the commit record; the record itself starts after `last_change`, the LSN of a change."""

    __slots__ = ("xid", "last_change", "end", "committed_at", "changes")

    def __init__(self, xid):
        self.xid, self.last_change, self.end, self.committed_at, self.changes = xid, 0, 0, None, []


class Unreadable(Exception):
    """The dump has a line that this parser does not know. Nothing may be concluded from such a dump."""


UNCHANGED_TOAST = object()

_COMMIT = re.compile(r"COMMIT (\d+) \(at ([^)]+)\)\Z")
_CHANGE = re.compile(r"table ((?:\w+|\"(?:[^\"]|\"\")+\")\.(?:\w+|\"(?:[^\"]|\"\")+\")): (INSERT|UPDATE|DELETE):")
_TRUNCATE = re.compile(r"table (.+): TRUNCATE: ")
_MESSAGE = re.compile(r"message: transactional: ([01]) ")
_PART = re.compile(
    r" (?:(old-key|new-tuple):"
    r"|(\w+|\"(?:[^\"]|\"\")+\")\[((?:[^\[\]]|\[\])+)\]:(?:'([^']*(?:''[^']*)*)'|([^' ]\S*)))"
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v"}


def lsn(text):
    """`16/B374D848` as a number."""
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def transactions(lines):
    """The transactions of a dump in commit order, from its lines."""
    current, early = None, []
    for line in lines:
        at, xid, data = line.rstrip("\n").split("\t")
        if "\\" in data:
            data = _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), data)
        if data.startswith("table "):
            current.changes += _changes(data)
            current.last_change = lsn(at)
        elif data.startswith("BEGIN "):
            current = Transaction(xid)
            current.changes += [message for of, message in early if of == xid]
            early = []
        elif message := _MESSAGE.match(data):
            # test_decoding does not write BEGIN for a message alone, so one may stand before its transaction's.
            if message[1] == "1":
                change = Change(None, "MESSAGE", {}, {})
                current.changes.append(change) if current else early.append((xid, change))
        else:
            commit = _COMMIT.match(data)
            if not commit or commit[1] != current.xid:
                raise Unreadable(data)
            current.end = lsn(at)
            current.committed_at = timestamp(commit[2])
            yield current
            current = None
    if current is not None:
        raise Unreadable("the dump ends within a transaction")


def timestamp(text):
    """Postgres' ISO form of a timestamptz in UTC."""
    if not text.endswith("+00"):
        raise Unreadable(f"not a timestamp in UTC: {text}")
    return datetime.fromisoformat(text[:-3]).replace(tzinfo=timezone.utc)


def _changes(data):
    truncate = _TRUNCATE.match(data)
    return [Change(table, "TRUNCATE", {}, {}) for table in truncate[1].split(", ")] if truncate else [_change(data)]


def _change(data):
    head = _CHANGE.match(data)
    if not head:
        raise Unreadable(data)
    table, operation = head.groups()
    old, new = {}, {}
    row = old if operation == "DELETE" else new
    at, end = head.end(), len(data)
    while at < end:
        part = _PART.match(data, at)
        if not part:
            raise Unreadable(data)
        marker, name, _type, quoted, bare = part.groups()
        if marker:
            row = old if marker == "old-key" else new
        elif quoted is not None:
            row[_unquoted(name)] = quoted.replace("''", "'")
        else:
            row[_unquoted(name)] = _bare(bare)
        at = part.end()
    return Change(table, operation, old, new)


def _unquoted(name):
    return name[1:-1].replace('""', '"') if name[0] == '"' else name


def _bare(text):
    if text == "null":
        return None
    return UNCHANGED_TOAST if text == "unchanged-toast-datum" else text
