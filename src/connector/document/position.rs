//! Byte offsets as lines and columns, and the excerpt that points at one.

/// Line and column (in characters), both from 1, of a byte offset.
pub(super) fn of(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
    (line, before.get(line_start..).unwrap_or_default().chars().count() + 1)
}

/// A line of text and a caret below its `column` (from 1, in characters); tabs become spaces so that the caret fits.
pub(crate) fn excerpt(line: &str, column: usize) -> String {
    let line = line.trim_end().replace('\t', " ");
    format!("    {line}\n    {:>column$}", "^")
}
