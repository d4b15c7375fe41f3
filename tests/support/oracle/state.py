"""The tables at rest, compared with what a subscriber makes of the topics: fold every event into its row.

A dump has a line for each row: `table` and `row`, columns with Postgres' text or null. The fold begins with the rows
that were there before the slot, which nobody announced. A tombstone takes its row away. What an event does not carry
stays as it was: an unchanged TOAST value is never sent as something else, the daemon halts where a rule needs one.

An id that was folded is not folded again, as subscribers of `at_least_once` do; that it came twice others count.

customers, order_lines, shipments and returns fold whole, payments once they are captured. What subscribers are not told
cannot be folded: SILENT columns, internal ones (password_hash, internal_note, provider_token, orders.shipped_at), and
the tables without events.
"""

from collections import defaultdict

import rules

TABLES = {event: table for table, of_table in rules.RULES.items() for event, *_ in of_table}

# Columns that change without an event: a line more for an order, reservations and recounts.
SILENT = {
    "public.orders": {"line_count", "total_amount", "request_id"},
    "public.stock_levels": {"reserved", "reason", "counted_at", "request_id"},
}

# Event -> table, the field with the row's key, and the status that it tells.
STATUS = {
    "oms.OrderPlaced": ("public.orders", "order_id", "PLACED"),
    "oms.OrderPaid": ("public.orders", "order_id", "PAID"),
    "oms.OrderShipped": ("public.orders", "order_id", "SHIPPED"),
    "oms.OrderCancelled": ("public.orders", "order_id", "CANCELLED"),
    "oms.ReturnReceived": ("public.orders", "order_id", "RETURNED"),
    "oms.PaymentCaptured": ("public.payments", "payment_id", "CAPTURED"),
    "oms.PaymentRefunded": ("public.payments", "payment_id", "REFUNDED"),
}

# Table -> column -> conversion from Postgres' text, of all columns that are compared.
COLUMNS = defaultdict(dict)
for _event, _table in TABLES.items():
    for _name, _convert in (*rules.FIELDS[_event].values(), ("request_id", rules.text)):
        if _name not in SILENT.get(_table, ()):
            COLUMNS[_table][_name] = rules.optional(_convert)
for _table, _, _ in STATUS.values():
    COLUMNS[_table]["status"] = rules.optional(rules.text)


def judge(before, after, records, decoder, find):
    """`records` stand in the order of their partitions, and those of oms.returns behind those of oms.orders."""
    state, folded = _rows(before), set()
    for record in records:
        if (record.topic, record.id) not in folded:
            folded.add((record.topic, record.id))
            _fold(state, record, decoder, find)
    tables = _rows(after)
    for table in COLUMNS:
        for key in state[table].keys() | tables[table].keys():
            told, there = state[table].get(key), tables[table].get(key)
            if told is None or there is None:
                find("state", f"{table} {key}: {'a row' if there else 'no row'}, but {'told of' if told else 'untold'}")
            elif wrong := [name for name in there if told.get(name) != there[name]]:
                shown = ", ".join(f"{name} is {there[name]!r}, but told as {told.get(name)!r}" for name in wrong)
                find("state", f"{table} {key}: {shown}")


def _rows(dump):
    """Table -> key -> the compared columns."""
    tables = defaultdict(dict)
    for line in dump:
        table, row = line["table"], line["row"]
        if table in COLUMNS and row.get("status") != "AUTHORIZED":
            row = {name: convert(row[name]) for name, convert in COLUMNS[table].items()}
            tables[table][_key(table, row)] = row
    return tables


def _key(table, row):
    return tuple(row[column] for column in rules.PRIMARY_KEYS[table])


def _fold(state, record, decoder, find):
    if record.value is None:
        state["public.customers"].pop((record.key.decode(),), None)
        return
    try:
        event, fields = decoder.decode(record.value)
        table = TABLES[event]
    except Exception:  # The counter `schema` tells of it.
        return
    news = {column: fields[field] for field, (column, _) in rules.FIELDS[event].items()}
    row = state[table].setdefault(_key(table, news), {})
    _check_step(record, event, row, fields, find)
    row |= news | {"request_id": fields["meta"]["correlation_id"]}
    if event in STATUS:
        table, key, status = STATUS[event]
        state[table].setdefault((fields[key],), {})["status"] = status


def _check_step(record, event, row, fields, find):
    """What an event says of the time before it is what was told before; stock counts its changes without a gap."""
    said = {column: fields[field] for field, (column, _) in rules.OLD_FIELDS.get(event, {}).items()}
    if event == "oms.InventoryAdjusted":
        said["revision"] = fields["revision"] - 1
    for column, value in said.items():
        if row.get(column) != value:
            find("state", f"{record.place()}: {column} was {value!r}, but told as {row.get(column)!r}")
