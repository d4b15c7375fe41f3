//! One order of the worked example as a server sends it, and what the stages make of it: for benchmarks of a stage alone.

mod messages;

use std::path::Path;
use std::sync::Arc;

use walwright::connector::{self, ColumnRef, EventPlan, FieldPlan, FieldSource, OnNull, Plan, Side};
use walwright::contract::{Contract, ContractField, FieldType, Nullability, Repository};
use walwright::decode::{Decoder, Message};
use walwright::encode::{Capture, EventProgram, Meta, SchemaIds};
use walwright::model::{Change, ColumnType, Operation};

use self::messages::{STATES, insert, is_status, paid, relation};
use super::{Context, Result};

pub(crate) const META: Meta<'static> = Meta {
    id: b"/oms/demo:0:16/B374D848:public.orders:3:oms/OrderPlaced/v1",
    occurred_at: Some(1_795_269_900_123_456),
    source: "/oms/demo",
    sequence: b"00000000-00000016B374D848-0000000003-FFFFFFFFFF",
    operation: Operation::Insert,
    capture: Capture::Stream,
};

pub(crate) struct Order {
    pub(crate) plan: Plan,
    /// `OrderPlaced` with one field more, which makes fifteen.
    pub(crate) event: EventPlan,
    pub(crate) decoder: Decoder,
    /// Messages of the stream.
    pub(crate) insert: Vec<u8>,
    pub(crate) update: Vec<u8>,
}

impl Order {
    pub(crate) fn new() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (repository, faults) = Repository::load(&root.join("schemas"));
        if !faults.is_empty() {
            return Err(format!("the contracts have faults: {faults:?}").into());
        }
        let connector = connector::load(&root.join("connectors/oms.toml"), &repository, "");
        let plan = connector.map_err(|faults| format!("the connector has faults: {faults:?}"))?.plan;
        let event = fifteen(plan.events.first().ok_or("the connector has no event")?)?;
        let mut decoder = Decoder::new();
        let Message::Relation { index } = decoder.decode(&relation())? else {
            return Err("no relation".into());
        };
        let mut relation = decoder.relation(index).ok_or("no relation")?.as_ref().clone();
        let states = STATES.map(str::to_owned).to_vec();
        for column in &mut relation.columns {
            column.in_key = column.name == "id";
            if is_status(column.type_oid) {
                column.kind = ColumnType::Enum(states.clone());
            }
        }
        decoder.set_relation(index, relation);
        Ok(Self { plan, event, decoder, insert: insert(), update: paid() })
    }

    pub(crate) fn program(&self) -> Result<EventProgram> {
        let relation = self.decoder.relation(0).ok_or("no relation")?;
        let topic = self.plan.topics.get(self.event.topic).ok_or("no topic")?;
        EventProgram::compile(&self.event, topic, relation, SchemaIds { value: 1, key: None }).context("compile")
    }

    /// What the message says.
    pub(crate) fn change<'a>(decoder: &'a mut Decoder, message: &'a [u8]) -> Result<Change<'a>> {
        match decoder.decode(message)? {
            Message::Row { change, .. } => Ok(change),
            other => Err(format!("no row: {other:?}").into()),
        }
    }
}

/// The event with `paid_at` besides.
fn fifteen(event: &EventPlan) -> Result<EventPlan> {
    const NAME: &str = "paid_at";
    let mut contract = Contract::clone(&event.contract);
    let (name, kind) = (NAME.to_owned(), FieldType::TimestampMicros);
    contract.fields.push(ContractField { name, kind, nullable: Nullability::NullFirst, default: None });
    let mut schema: serde_json::Value = serde_json::from_str(&contract.schema)?;
    let fields = schema.get_mut("fields").and_then(serde_json::Value::as_array_mut).ok_or("no fields")?;
    let kind = serde_json::json!(["null", { "type": "long", "logicalType": "timestamp-micros" }]);
    fields.push(serde_json::json!({ "name": NAME, "type": kind, "default": null }));
    contract.schema = schema.to_string();
    let mut event = event.clone();
    event.contract = Arc::new(contract);
    let column = ColumnRef { side: Side::Row, name: NAME.to_owned() };
    let source = FieldSource::Column { column, on_null: OnNull::Refuse };
    event.fields.push(FieldPlan { name: NAME.to_owned(), source, place: event.place.clone() });
    Ok(event)
}
