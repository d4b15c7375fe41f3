//! Byte offsets as lines and columns, and the excerpt that points at one.

/// Line and column (in characters), both from 1, of a byte offset.
pub(super) fn of(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
    (line, before.get(line_start..).unwrap_or_default().chars().count() + 1)
}

/// What is shown of a line at most on either side of a place, in characters.
const SHOWN: usize = 100;

/// A line of text and a caret below its `column` (from 1, in characters); tabs become spaces so that the caret fits. Of a
/// line that is very long the part around it is shown.
pub(crate) fn excerpt(line: &str, column: usize) -> String {
    let left_out = column.saturating_sub(SHOWN);
    let shown: String = line.trim_end().chars().skip(left_out).take(2 * SHOWN).collect();
    format!("    {}\n    {:>width$}", shown.replace('\t', " "), "^", width = column - left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_line_the_part_around_the_place_is_shown() {
        assert_eq!(excerpt("a\t= 1 ", 3), "    a = 1\n      ^");
        let line = format!("{}b{}", "a".repeat(100_000), "c".repeat(100_000));
        let caret = format!("{}^", " ".repeat(99));
        assert_eq!(excerpt(&line, 100_001), format!("    {}b{}\n    {caret}", "a".repeat(99), "c".repeat(100)));
    }
}
