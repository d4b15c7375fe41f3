//! Process settings: `walwright.toml` with positions, the environment laid over it, checked into plain data.

mod environment;
mod kafka;
mod load;
mod process;
mod registry;

#[cfg(any(test, fuzzing))]
pub(crate) use load::load_process;
pub use load::{Loaded, load_all};
pub use process::{
    AdminSettings, Delivery, Headers, KafkaSettings, LogFormat, LogSettings, Process, RegistryLogin, RegistrySettings,
};
