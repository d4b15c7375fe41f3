//! Encoded records on their way to Kafka: byte ranges of one buffer, so that a record costs no allocation.

use std::ops::Range;

/// One header of a record: the index of its name in the connector's list of header names, and its value in the buffer.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub name: usize,
    pub value: Range<usize>,
}

/// One Kafka record. Ranges are of the batch's `bytes` and `headers`.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Index into the connector plan's topics.
    pub topic: usize,
    pub partition: i32,
    pub key: Range<usize>,
    /// None is a tombstone.
    pub value: Option<Range<usize>>,
    pub headers: Range<usize>,
    /// The commit time of the source transaction, the record's Kafka timestamp, Unix milliseconds.
    pub timestamp_ms: i64,
}

/// Encoded records of whole source transactions, or of a piece of a large one, in source order; once they have been put
/// together by partition, within each of these.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub bytes: Vec<u8>,
    pub headers: Vec<Header>,
    pub records: Vec<Record>,
}

impl Batch {
    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.headers.clear();
        self.records.clear();
    }

    /// An empty one with room for as much as this one holds: the next is mostly of its size, and growing copies.
    pub fn room_for_another(&self) -> Batch {
        Batch {
            bytes: Vec::with_capacity(self.bytes.len()),
            headers: Vec::with_capacity(self.headers.len()),
            records: Vec::with_capacity(self.records.len()),
        }
    }

    /// Whether it holds no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Puts the records of each partition together, in the order that they have. The client sends a request for each partition
    /// for which it finds records: so it finds many for one, and not some for each.
    pub fn group_by_partition(&mut self) {
        let mut next: Vec<Vec<usize>> = Vec::new();
        for record in &self.records {
            *place_of(&mut next, record) += 1;
        }
        if next.iter().flatten().filter(|count| **count > 0).count() < 2 {
            return;
        }
        let mut begins = 0;
        for place in next.iter_mut().flatten() {
            (*place, begins) = (begins, begins + *place);
        }
        let place = |record: &Record| {
            let next = place_of(&mut next, record);
            *next += 1;
            *next - 1
        };
        let mut places: Vec<usize> = self.records.iter().map(place).collect();
        // Each exchange brings one record to its place.
        for at in 0..places.len() {
            while places[at] != at {
                let place = places[at];
                self.records.swap(at, place);
                places.swap(at, place);
            }
        }
    }

    /// Moves the records from index `first` on out of this batch into `tail`, which is empty.
    pub fn split_off(&mut self, first: usize, mut tail: Batch) -> Batch {
        let Some(start) = self.records.get(first) else { return tail };
        let (bytes_at, headers_at) = (start.key.start, start.headers.start);
        tail.bytes.extend(self.bytes.drain(bytes_at..));
        tail.headers.extend(self.headers.drain(headers_at..));
        tail.records.extend(self.records.drain(first..));
        let back = |range: &Range<usize>, by: usize| range.start - by..range.end - by;
        for header in &mut tail.headers {
            header.value = back(&header.value, bytes_at);
        }
        for record in &mut tail.records {
            record.key = back(&record.key, bytes_at);
            record.value = record.value.as_ref().map(|value| back(value, bytes_at));
            record.headers = back(&record.headers, headers_at);
        }
        tail
    }
}

/// By topic and partition.
fn place_of<'p>(places: &'p mut Vec<Vec<usize>>, record: &Record) -> &'p mut usize {
    if places.len() <= record.topic {
        places.resize(record.topic + 1, Vec::new());
    }
    let (of_topic, partition) = (&mut places[record.topic], usize::try_from(record.partition).unwrap_or(0));
    if of_topic.len() <= partition {
        of_topic.resize(partition + 1, 0);
    }
    &mut of_topic[partition]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_a_partition_come_together_in_their_order() {
        let mut batch = Batch::default();
        let places = [(1, 2), (0, 1), (1, 0), (0, 1), (1, 2), (0, 0), (1, 2), (1, 0)];
        for (number, (topic, partition)) in places.into_iter().enumerate() {
            push(&mut batch, &number.to_string(), "id", Some("v"));
            (batch.records[number].topic, batch.records[number].partition) = (topic, partition);
        }
        let mut before = batch.clone();
        batch.group_by_partition();
        let key = |record: &Record| String::from_utf8_lossy(&batch.bytes[record.key.clone()]).into_owned();
        assert_eq!(batch.records.iter().map(key).collect::<String>(), "51327046");
        assert_eq!((&batch.bytes, &batch.headers), (&before.bytes, &before.headers));
        let mut one = before.split_off(7, Batch::default());
        one.group_by_partition();
        assert_eq!(one.records.len(), 1);
    }

    fn push(batch: &mut Batch, key: &str, id: &str, value: Option<&str>) {
        let mut put = |text: &str| {
            let start = batch.bytes.len();
            batch.bytes.extend_from_slice(text.as_bytes());
            start..batch.bytes.len()
        };
        let (key, id, value) = (put(key), put(id), value.map(put));
        let first = batch.headers.len();
        batch.headers.push(Header { name: 0, value: id });
        let headers = first..batch.headers.len();
        batch.records.push(Record { topic: 0, partition: 0, key, value, headers, timestamp_ms: 0 });
    }

    #[test]
    fn split_off_moves_the_tail_with_all_its_bytes() {
        let mut batch = Batch::default();
        push(&mut batch, "k1", "id1", Some("v1"));
        push(&mut batch, "k2", "id2", None);
        push(&mut batch, "k3", "id3", Some("v3"));
        let mut expected = Batch::default();
        push(&mut expected, "k2", "id2", None);
        push(&mut expected, "k3", "id3", Some("v3"));
        let tail = batch.split_off(1, Batch::default());
        assert_eq!((tail.bytes, tail.headers, tail.records), (expected.bytes, expected.headers, expected.records));
        let mut head = Batch::default();
        push(&mut head, "k1", "id1", Some("v1"));
        assert_eq!((batch.bytes, batch.records), (head.bytes, head.records));
    }
}
