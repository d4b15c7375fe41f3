//! Stage 2: pgoutput messages over received bytes. Pure, never panics.
