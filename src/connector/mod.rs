//! Connectors: `connectors/<name>.toml`, parsed with positions, checked against the contracts into a plan of plain data.

pub(crate) mod document;
mod expression;
mod plan;

pub use expression::{ColumnRef, Comparison, Expression, Literal, Node, NodeKind, Place, Side};
pub use plan::{
    EventPlan, FieldPlan, FieldSource, KeyKind, KeyPlan, LargeTransactions, NewColumns, OnNull, Plan, TablePlan,
    TombstonePlan, TopicCreate, TopicPlan, Unhandled,
};
//STUB
#[allow(missing_docs)]
pub struct Connector {
    pub plan: Plan,
    pub source: SourceSection,
}
#[allow(missing_docs)]
#[derive(Clone)]
pub struct SourceSection;
#[allow(missing_docs)]
pub struct Pw;
#[allow(missing_docs)]
impl Pw {
    pub fn reveal(&self) -> &str {
        ""
    }
}
#[allow(missing_docs)]
pub enum TlsSetting {
    Disable,
    VerifyFull { ca: Option<std::path::PathBuf> },
}
#[allow(missing_docs)]
pub struct ResolvedSource {
    pub hosts: Vec<String>,
    pub port: u16,
    pub database: String,
    pub user: String,
    pub password: Option<Pw>,
    pub tls: TlsSetting,
    pub slot: String,
    pub publication: String,
    pub adopt_slot: bool,
}
#[allow(missing_docs)]
impl SourceSection {
    pub fn resolve(&self) -> crate::error::Result<ResolvedSource> {
        panic!()
    }
}
#[allow(missing_docs)]
pub fn load(
    _p: &std::path::Path,
    _r: &crate::contract::Repository,
    _t: &str,
) -> Result<Connector, crate::error::Faults> {
    panic!()
}
