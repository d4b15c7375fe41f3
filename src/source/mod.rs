//! Stage 1: bytes in, status out. The replication client, preflight and the catalog.
