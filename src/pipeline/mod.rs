//! The only place that sees two stages: builds, runs, recovers and stops a connector.
