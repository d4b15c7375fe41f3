//! Properties whose oracle is a real server.

mod text_output;
