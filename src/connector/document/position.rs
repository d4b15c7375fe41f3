//! Byte offsets as lines and columns, and the excerpt that points at one.

/// A text that knows where its lines begin: of a file with thousands of entries each asks for its own.
pub(super) struct Text {
    text: String,
    /// Behind each newline.
    starts: Vec<usize>,
}

impl Text {
    pub(super) fn new(text: String) -> Text {
        let starts = text.match_indices('\n').map(|(newline, _)| newline + 1).collect();
        Text { text, starts }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Line and column (in characters), both from 1, of a byte offset.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let lines = self.starts.partition_point(|start| *start <= offset);
        let start = lines.checked_sub(1).map_or(0, |last| self.starts[last]);
        let before = self.text.get(start..offset).or_else(|| self.text.get(start..)).unwrap_or_default();
        (lines + 1, before.chars().count() + 1)
    }
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
    fn lines_and_columns_count_from_one_and_in_characters() {
        let text = Text::new("a = 1\n\nü = \"é\"\n".to_owned());
        let at = |part: &str| text.position(text.as_str().find(part).unwrap());
        assert_eq!((text.position(0), at("1")), ((1, 1), (1, 5)));
        assert_eq!((text.position(5), text.position(6)), ((1, 6), (2, 1)), "a newline ends its own line");
        assert_eq!((at("ü"), at("é")), ((3, 1), (3, 6)));
        let end = text.as_str().len();
        assert_eq!((text.position(end), text.position(end + 5)), ((4, 1), (4, 1)), "never behind the text");
        assert_eq!(Text::new(String::new()).position(0), (1, 1));
    }

    #[test]
    fn of_a_long_line_the_part_around_the_place_is_shown() {
        assert_eq!(excerpt("a\t= 1 ", 3), "    a = 1\n      ^");
        let line = format!("{}b{}", "a".repeat(100_000), "c".repeat(100_000));
        let caret = format!("{}^", " ".repeat(99));
        assert_eq!(excerpt(&line, 100_001), format!("    {}b{}\n    {caret}", "a".repeat(99), "c".repeat(100)));
    }
}
