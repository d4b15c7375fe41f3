//! Which partition a key goes to: as Kafka's Java client decides, so that topics can be co-partitioned with its.

use crate::faults::{Mutation, mutated};

/// The partition of `key` among `count` (`BuiltInPartitioner.partitionForKey` of the Java client).
///
/// `count` is the recorded number of partitions; anything below 2 gives 0.
pub fn partition(key: &[u8], count: i32) -> i32 {
    let hash = if mutated(Mutation::WrongPartition) { murmur2(key) >> 7 } else { murmur2(key) };
    let positive = (hash & 0x7FFF_FFFF) as i32;
    if count < 2 { 0 } else { positive % count }
}

/// Kafka's murmur2 (`org.apache.kafka.common.utils.Utils.murmur2`).
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    // The Java client mixes in the length as an int: modulo 2^32.
    let mut h = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let k = u32::from_le_bytes(*word).wrapping_mul(M);
        h = h.wrapping_mul(M) ^ (k ^ (k >> 24)).wrapping_mul(M);
    }
    if !rest.is_empty() {
        h ^= rest.iter().rev().fold(0, |tail, byte| tail << 8 | u32::from(*byte));
        h = h.wrapping_mul(M);
    }
    h = (h ^ (h >> 13)).wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Faults: KF-15.
    #[test]
    fn murmur2_gives_the_values_of_kafkas_own_test() {
        // UtilsTest.testMurmur2
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn partitions_are_in_range_and_all_used() {
        let mut seen = [0; 12];
        for i in 0..10_000 {
            let partition = partition(i.to_string().as_bytes(), 12);
            seen[usize::try_from(partition).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| (700..1_000).contains(count)), "{seen:?}");
        assert_eq!(partition(b"x", 1), 0);
        assert_eq!(partition(b"", 0), 0);
    }
}
