//! Process settings: `walwright.toml` with positions, the environment laid over it, checked into plain data.
