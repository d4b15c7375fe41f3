//! "Did you mean": the nearest of the known names.

/// The candidate nearest to `name`, if it is near enough to be what was meant: at most two edits, and fewer than half
/// of the name's length.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, candidate) =
        candidates.into_iter().map(|candidate| (edits(name, candidate), candidate)).min_by_key(|(edits, _)| *edits)?;
    (distance <= 2 && distance * 2 < name.chars().count()).then_some(candidate)
}

/// Levenshtein's distance: insertions, deletions and replacements of characters.
fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = i;
        let mut previous = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(&right) {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = *cell;
            previous = replaced.min(diagonal + 1).min(previous + 1);
            *cell = previous;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        let cases =
            [("", "", 0), ("a", "", 1), ("topic", "topik", 1), ("unpublishd", "unpublished", 1), ("on", "key", 3)];
        for (left, right, expected) in cases {
            assert_eq!((edits(left, right), edits(right, left)), (expected, expected), "{left} {right}");
        }
    }

    #[test]
    fn only_near_names_are_suggested() {
        let known = ["topic", "table", "contract"];
        assert_eq!(nearest("topik", known), Some("topic"));
        assert_eq!(nearest("kontrakt", known), Some("contract"));
        assert_eq!(nearest("to", known), None);
        assert_eq!(nearest("filter", known), None);
    }
}
