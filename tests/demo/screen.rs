//! The terminal: a line that stays in place, blocks above it, colours; plain lines where there is no terminal.

use std::io::{IsTerminal, Write};

pub(super) struct Screen {
    terminal: bool,
    pub(super) colours: Colours,
}

/// ANSI colours, or none of them.
#[derive(Clone, Copy)]
pub(super) struct Colours(bool);

impl Colours {
    pub(super) fn title(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(super) fn name(self, text: &str) -> String {
        self.paint("36", text)
    }

    pub(super) fn text(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(super) fn number(self, text: &str) -> String {
        self.paint("33", text)
    }

    pub(super) fn quiet(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(super) fn good(self, text: &str) -> String {
        self.paint("1;32", text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

impl Screen {
    pub(super) fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { terminal, colours: Colours(colours) }
    }

    /// Shows a line in the place of the one before.
    pub(super) fn status(&self, line: &str) {
        if self.terminal { self.write(&format!("\r\x1b[2K{line}")) } else { self.write(&format!("{line}\n")) }
    }

    /// Prints lines that stay, above the status.
    pub(super) fn print(&self, lines: &str) {
        let clear = if self.terminal { "\r\x1b[2K" } else { "" };
        self.write(&format!("{clear}{}\n", lines.trim_end()));
    }

    fn write(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        // Whoever closed the output does not want to see it; the exit code and the report remain.
        drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    }
}

/// 1234567 as 1,234,567.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
