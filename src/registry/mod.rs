//! Client of Confluent's schema registry API, which Apicurio, Karapace and Redpanda serve too.

mod answer;
mod client;
mod push;
mod subject;

pub use crate::contract::Compatibility;
pub use client::{Client, Credentials, Settings, WITHOUT_CREDENTIALS};
pub use push::{Pushed, push};
pub use subject::{Subject, SubjectNameStrategy, subjects};
