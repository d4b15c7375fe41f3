//! `docs/errors.md`, the page of the kinds, compiled in: each kind has a section, which `walwright explain` prints.

use super::Kind;

const PAGE: &str = include_str!("../../docs/errors.md");

impl Kind {
    /// What happened, what is safe and what to do: the kind's section of the page, without its title.
    pub fn explanation(self) -> &'static str {
        let (_, section) = sections().find(|(title, _)| *title == self.name()).unwrap_or_default();
        section
    }

    /// What holds for all kinds: the page's beginning.
    pub fn explanation_of_all() -> &'static str {
        PAGE.split("\n## ").next().unwrap_or_default().trim()
    }
}

/// Titles and texts.
fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    PAGE.split("\n## ").skip(1).filter_map(|section| section.split_once('\n')).map(|(title, text)| (title, text.trim()))
}

#[cfg(test)]
mod tests {
    use super::super::Disposition;
    use super::*;

    /// How a kind's section begins, and what stands in it in this order.
    fn parts(kind: Kind) -> [String; 3] {
        let does = match kind.disposition() {
            Disposition::Retry => "tries again by itself",
            Disposition::Halt => "halts",
            Disposition::Bug => "halts; this is a bug",
        };
        let begin = format!("{} The connector **{does}**.", kind.meaning());
        [begin, "\n\nSafe: ".to_owned(), format!("\n\nTo do: {}.", kind.remedy())]
    }

    /// What happened, what is safe, what to do, in the words of the program. `WALWRIGHT_WRITE_DOCS=1` adds the sections
    /// that are missing; what is safe a person must write.
    #[test]
    fn each_kind_has_a_section_that_says_what_the_program_says() {
        let missing: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| kind.explanation().is_empty()).collect();
        if std::env::var_os("WALWRIGHT_WRITE_DOCS").is_some() {
            let section = |kind: &Kind| format!("\n## {kind}\n\n{}\n", parts(*kind).concat());
            let page = PAGE.to_owned() + &missing.iter().map(section).collect::<String>();
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md"), page).unwrap();
        }
        assert_eq!(missing, []);
        for kind in Kind::ALL {
            let (text, [begin, safe, remedy]) = (kind.explanation(), parts(*kind));
            assert!(text.starts_with(&begin), "{kind}: begins otherwise than {begin}");
            let safe = text.find(&safe).unwrap_or_else(|| panic!("{kind}: does not say what is safe"));
            assert!(text[safe..].find(&remedy).is_some_and(|at| at > 20), "{kind}: lacks {remedy}");
        }
    }

    #[test]
    fn there_is_no_section_for_a_kind_that_is_none() {
        let names = sections().map(|(title, _)| title).filter(|title| !title.contains(' '));
        let unknown: Vec<_> = names.filter(|name| Kind::ALL.iter().all(|kind| kind.name() != *name)).collect();
        assert_eq!(unknown, Vec::<&str>::new());
        assert!(Kind::explanation_of_all().starts_with("# Errors"));
    }
}
