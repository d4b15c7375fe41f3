//! `walwright explain`: the page of the kinds of errors, which is compiled in.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use crate::error::Kind;

/// What to explain.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The error's kind, as log, `/readyz` and `status` name it; without one, what holds for all, and the list of them.
    #[arg(value_parser = kinds(), hide_possible_values = true)]
    kind: Option<Kind>,
}

fn kinds() -> impl clap::builder::TypedValueParser<Value = Kind> {
    let names = PossibleValuesParser::new(Kind::ALL.iter().map(|kind| kind.name()));
    names.try_map(|name| Kind::ALL.iter().copied().find(|kind| kind.name() == name).ok_or("no such kind"))
}

pub(super) fn explain(arguments: &Arguments) {
    if let Some(kind) = arguments.kind {
        return println!("{kind}\n\n{}", kind.explanation());
    }
    println!("{}\n", Kind::explanation_of_all());
    for kind in Kind::ALL {
        println!("{:<24} {}", kind.name(), kind.meaning());
    }
}
