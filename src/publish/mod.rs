//! Stage 5: Kafka producers, transactions, topics.
