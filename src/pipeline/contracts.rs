//! The registry's ids of what a connector publishes, looked up once before the first row.

use super::connector::Connector;
use super::programs::ContractIds;
use crate::connector::{KeyKind, Plan};
use crate::error::{At, Result};
use crate::registry::{Client, Strategy, subject};
