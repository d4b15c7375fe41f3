//! Client of Confluent's schema registry API.
