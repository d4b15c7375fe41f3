"""What `connectors/oms.toml` promises, stated a second time: from one source transaction to the records due.

Written from the meaning of the rules, without reading that file or any code of the daemon. Who changes a rule there
changes it here as well, and the two must agree in every value.
"""

from datetime import date, datetime, time
from decimal import Decimal

from witness import UNCHANGED_TOAST, timestamp

# The tables of the publication; changes of others are never sent.
PUBLISHED = frozenset(
    f"public.{name}"
    for name in "customers orders order_lines payments shipments returns return_lines products warehouses stock_levels"
    " stock_movements".split()
)

TOPICS = ("oms.orders", "oms.payments", "oms.inventory", "oms.returns", "oms.customers-state")

PRIMARY_KEYS = {
    "public.orders": ("id",),
    "public.order_lines": ("id",),
    "public.shipments": ("id",),
    "public.payments": ("id",),
    "public.returns": ("id",),
    "public.stock_levels": ("warehouse_id", "product_id"),
    "public.customers": ("customer_number",),
}


class Record:
    """One record due: `value` is None for a tombstone, else the fields; `type` is the Avro full name."""

    __slots__ = ("topic", "id", "key", "headers", "type", "value")

    def __init__(self, topic, id, key, headers, type, value):
        self.topic, self.id, self.key, self.headers = topic, id, key, headers
        self.type, self.value = type, value


def text(value):
    if value is None or value is UNCHANGED_TOAST:
        raise ValueError("a value is missing in the witness")
    return value


def boolean(value):
    return {"true": True, "t": True, "false": False, "f": False}[value]


def bytea(value):
    if not value.startswith("\\x"):
        raise ValueError("not bytea in hex")
    return bytes.fromhex(value[2:])


def optional(convert):
    return lambda value: None if value is None else convert(value)


CHANNELS = {"W": "WEB", "S": "STORE", "P": "PHONE"}

# Event -> field -> column of the new row and its conversion from Postgres' text.
FIELDS = {
    "oms.OrderPlaced": {
        "order_id": ("id", int),
        "external_id": ("external_id", text),
        "customer_id": ("customer_id", text),
        "channel": ("channel", CHANNELS.__getitem__),
        "warehouse_id": ("warehouse_id", int),
        "currency": ("currency", text),
        "total_amount": ("total_amount", Decimal),
        "line_count": ("line_count", int),
        "gift": ("gift", boolean),
        "shipping_address": ("shipping_address", text),
        "requested_delivery_date": ("requested_delivery_date", optional(date.fromisoformat)),
        "customer_note": ("customer_note", optional(text)),
        "placed_at": ("placed_at", timestamp),
    },
    "oms.OrderPaid": {
        "order_id": ("id", int),
        "customer_id": ("customer_id", text),
        "currency": ("currency", text),
        "total_amount": ("total_amount", Decimal),
        "paid_at": ("paid_at", timestamp),
    },
    "oms.OrderCancelled": {
        "order_id": ("id", int),
        "customer_id": ("customer_id", text),
        "reason": ("cancel_reason", optional(text)),
        "cancelled_at": ("cancelled_at", timestamp),
    },
    "oms.OrderLineAdded": {
        "order_id": ("order_id", int),
        "line_id": ("id", int),
        "line_number": ("line_number", int),
        "product_id": ("product_id", int),
        "quantity": ("quantity", int),
        "unit_price": ("unit_price", Decimal),
        "tax_rate": ("tax_rate", Decimal),
        "gift_text": ("gift_text", optional(text)),
    },
    "oms.OrderShipped": {
        "order_id": ("order_id", int),
        "shipment_id": ("id", int),
        "warehouse_id": ("warehouse_id", int),
        "carrier": ("carrier", text),
        "tracking_number": ("tracking_number", optional(text)),
        "parcels": ("parcels", int),
        "weight_kg": ("weight_kg", float),
        "pickup_time": ("pickup_time", optional(time.fromisoformat)),
        "label_digest": ("label_digest", bytea),
        "shipped_at": ("shipped_at", timestamp),
    },
    "oms.PaymentCaptured": {
        "payment_id": ("id", int),
        "order_id": ("order_id", int),
        "method": ("method", text),
        "amount": ("amount", Decimal),
        "currency": ("currency", text),
        "authorized_at": ("authorized_at", timestamp),
        "captured_at": ("captured_at", timestamp),
    },
    "oms.PaymentRefunded": {
        "payment_id": ("id", int),
        "order_id": ("order_id", int),
        "refunded_amount": ("refunded_amount", Decimal),
        "currency": ("currency", text),
        "refunded_at": ("refunded_at", timestamp),
    },
    "oms.InventoryAdjusted": {
        "product_id": ("product_id", int),
        "warehouse_id": ("warehouse_id", int),
        "on_hand": ("on_hand", int),
        "reserved": ("reserved", int),
        "revision": ("revision", int),
        "reason": ("reason", text),
        "counted_at": ("counted_at", optional(timestamp)),
    },
    "oms.ReturnReceived": {
        "return_id": ("id", int),
        "order_id": ("order_id", int),
        "rma_number": ("rma_number", text),
        "reason": ("reason", optional(text)),
        "restocked": ("restocked", boolean),
        "refund_amount": ("refund_amount", Decimal),
        "received_at": ("received_at", datetime.fromisoformat),
    },
    "oms.CustomerChanged": {
        "customer_number": ("customer_number", text),
        "customer_id": ("id", text),
        "name": ("name", text),
        "email": ("email", text),
        "phone": ("phone", optional(text)),
        "tier": ("tier", text),
        "birth_date": ("birth_date", optional(date.fromisoformat)),
        "newsletter": ("newsletter", boolean),
        "credit_limit": ("credit_limit", optional(Decimal)),
        "billing_address": ("billing_address", text),
        "created_at": ("created_at", timestamp),
    },
}

# Event -> field -> column of the old row and its conversion.
OLD_FIELDS = {
    "oms.OrderCancelled": {"previous_status": ("status", text)},
    "oms.InventoryAdjusted": {"previous_on_hand": ("on_hand", int)},
}


def _became(status):
    return lambda old, new: old["status"] != status and new["status"] == status


# Table -> the rules on it, in the order in which one change yields their events:
# (event, operations, condition on the old and the new row, topic, column of the key)
RULES = {
    "public.orders": [
        ("oms.OrderPlaced", ("INSERT",), None, "oms.orders", "id"),
        ("oms.OrderPaid", ("UPDATE",), _became("PAID"), "oms.orders", "id"),
        ("oms.OrderCancelled", ("UPDATE",), _became("CANCELLED"), "oms.orders", "id"),
    ],
    "public.order_lines": [("oms.OrderLineAdded", ("INSERT",), None, "oms.orders", "order_id")],
    "public.shipments": [("oms.OrderShipped", ("INSERT",), None, "oms.orders", "order_id")],
    "public.payments": [
        ("oms.PaymentCaptured", ("UPDATE",), _became("CAPTURED"), "oms.payments", "id"),
        ("oms.PaymentRefunded", ("UPDATE",), _became("REFUNDED"), "oms.payments", "id"),
    ],
    "public.stock_levels": [
        (
            "oms.InventoryAdjusted",
            ("UPDATE",),
            lambda old, new: old["on_hand"] != new["on_hand"],
            "oms.inventory",
            "product_id",
        )
    ],
    "public.returns": [("oms.ReturnReceived", ("INSERT",), None, "oms.returns", "id")],
    "public.customers": [
        ("oms.CustomerChanged", ("INSERT", "UPDATE", "REKEY"), None, "oms.customers-state", "customer_number")
    ],
}

# Table -> topic and column of the old row's key, buried when the row goes or gets another key.
TOMBSTONES = {"public.customers": ("oms.customers-state", "customer_number")}


def operation(change):
    """The change's operation as rules name it: an update that moves the row's key is a rekey."""
    if change.operation == "UPDATE":
        for column in PRIMARY_KEYS[change.table]:
            if column in change.old and change.old[column] != change.new[column]:
                return "REKEY"
    return change.operation


def due(transaction, commit_lsn, source_id, topic_prefix=""):
    """The records that `transaction` must have become, in order; `commit_lsn` is where its commit record starts."""
    records, of_table, place = [], {}, 0
    for change in transaction.changes:
        if change.operation == "MESSAGE":
            place += 1
        if change.table not in PUBLISHED:
            continue
        count = of_table.get(change.table, 0)
        of_table[change.table] = count + 1
        sequence = f"00000000-{commit_lsn:016X}-{place:010X}-FFFFFFFFFF"
        place += 1
        if change.table in RULES:
            stem = f"{source_id}:0:{commit_lsn >> 32:X}/{commit_lsn & 0xFFFFFFFF:X}:{change.table}:{count}:"
            _due_of_change(change, transaction, stem, sequence, source_id, topic_prefix, records)
    return records


def _due_of_change(change, transaction, stem, sequence, source_id, topic_prefix, records):
    kind = operation(change)
    if change.table in TOMBSTONES and kind in ("DELETE", "REKEY"):
        topic, column = TOMBSTONES[change.table]
        topic = topic_prefix + topic
        headers = {"ce_id": stem + topic, "ce_type": "walwright.Tombstone.v1"}
        records.append(Record(topic, stem + topic, change.old[column], headers, None, None))
    for event, operations, condition, topic, key in RULES[change.table]:
        if kind not in operations or (condition and not condition(change.old, change.new)):
            continue
        # A value that is out of line and was not changed is not sent again; it is the old row's.
        new = {name: change.old.get(name, value) if value is UNCHANGED_TOAST else value for name, value in change.new.items()}
        id = f"{stem}{event.replace('.', '/')}/v1"
        request = new["request_id"]
        headers = {"ce_id": id, "ce_type": f"{event}.v1"}
        if request is not None:
            headers["correlation_id"] = request
        value = {name: convert(new[column]) for name, (column, convert) in FIELDS[event].items()}
        for name, (column, convert) in OLD_FIELDS.get(event, {}).items():
            value[name] = convert(change.old[column])
        value["meta"] = {
            "id": id,
            "occurred_at": transaction.committed_at,
            "source": source_id,
            "sequence": sequence,
            "operation": kind,
            "capture": "STREAM",
            "correlation_id": request,
            "traceparent": None,
        }
        records.append(Record(topic_prefix + topic, id, new[key], headers, event, value))
