"""Reads topics of Walwright and prints a line of JSON for each event and each tombstone. Ctrl-C ends it.

    python consumer.py BROKERS REGISTRY GROUP TOPIC...
"""

import json
import signal
import sys
from collections import OrderedDict

from confluent_kafka import Consumer, KafkaException
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer


class Recent:
    """The ids that came last. It ends with the process: where a restart must not repeat an effect, keep the id with the
    result instead, for example as a unique key of the table that is written."""

    def __init__(self, capacity):
        self.capacity, self.ids = capacity, OrderedDict()

    def is_new(self, id):
        if id in self.ids:
            return False
        self.ids[id] = None
        if len(self.ids) > self.capacity:
            self.ids.popitem(last=False)
        return True


def handle(message, headers, value):
    """What is to be done with an event; a tombstone has the value None and says that its key is gone."""
    event = {"topic": message.topic(), "key": message.key().decode(), "id": headers["ce_id"]}
    print(json.dumps(event | {"type": headers["ce_type"], "value": value}, default=str), flush=True)


def main(brokers, registry, group, topics):
    # Each value names its schema by id, so one deserializer reads all types of a topic.
    decode = AvroDeserializer(SchemaRegistryClient({"url": registry}))
    consumer = Consumer({
        "bootstrap.servers": brokers,
        "group.id": group,
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        # Only what was handled is committed: a record's offset is stored behind its handling.
        "enable.auto.offset.store": False,
        "auto.commit.interval.ms": 1000,
    })
    consumer.subscribe(topics)
    recent = Recent(100_000)
    try:
        while True:
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                raise KafkaException(message.error())
            headers = {name: value.decode() for name, value in message.headers() or []}
            if recent.is_new(headers["ce_id"]):
                handle(message, headers, decode(message.value()))
            consumer.store_offsets(message)
    except KeyboardInterrupt:
        pass
    finally:
        # Commits what is stored and leaves the group.
        consumer.close()


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
