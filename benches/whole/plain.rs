//! Tables made for one question: how many there are, how many columns and bytes a row has, how many rules a table.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::Result;
use crate::support::oms::site::Configuration;
use crate::support::sql::Sql;
use crate::support::stack::Stack;

const ROWS_PER_TRANSACTION: u64 = 10;
/// Rows that updates go round.
const UPDATED: u64 = 10_000;

/// What long values are made of: so many texts that none comes again within the 64 KiB in which lz4 looks for it.
const NOISE: &str = "
    CREATE TABLE IF NOT EXISTS noise (number bigint PRIMARY KEY, text text);
    ALTER TABLE noise ALTER text SET STORAGE EXTERNAL;
    INSERT INTO noise SELECT number, string_agg(md5(random()::text), '')
    FROM generate_series(0, 255) number, generate_series(1, 120) part GROUP BY number ON CONFLICT DO NOTHING;";
/// Characters of a digest.
const DIGEST: usize = 32;

#[derive(Clone)]
pub(crate) struct Plain {
    /// Of workload and publication; the tables' names begin with it.
    pub(crate) name: String,
    pub(crate) tables: usize,
    pub(crate) columns: usize,
    /// Bytes of each of them.
    pub(crate) width: usize,
    /// Rules on each table, each with a condition that one in so many rows meets; 0: one without a condition.
    pub(crate) rules: usize,
    pub(crate) operation: Operation,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Insert,
    /// Under REPLICA IDENTITY DEFAULT.
    Update,
    UpdateFull,
}

impl Plain {
    /// One table of five columns of twenty bytes, inserts only.
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), tables: 1, columns: 5, width: 20, rules: 0, operation: Operation::Insert }
    }

    pub(crate) fn publication(&self) -> String {
        format!("walwright_{}", self.name)
    }

    fn table(&self, number: usize) -> String {
        format!("{}_{number}", self.name)
    }

    fn columns(&self) -> impl Iterator<Item = String> {
        (1..=self.columns).map(|number| format!("c{number}"))
    }

    /// Tables, publication, and for updates the rows.
    pub(crate) fn create(&self, sql: &Sql) -> Result<()> {
        sql.batch(NOISE)?;
        let columns: String = self.columns().map(|column| format!(", {column} text NOT NULL")).collect();
        let external: Vec<_> = self.columns().map(|column| format!("ALTER {column} SET STORAGE EXTERNAL")).collect();
        for number in 0..self.tables {
            let table = self.table(number);
            sql.batch(&format!(
                "CREATE TABLE {table} (id bigint PRIMARY KEY, kind text NOT NULL{columns});
                 ALTER TABLE {table} {}",
                external.join(", ")
            ))?;
        }
        let mark = self.table(self.tables);
        sql.batch(&format!("CREATE TABLE {mark} (id bigint PRIMARY KEY)"))?;
        let tables: Vec<_> = (0..=self.tables).map(|number| self.table(number)).collect();
        sql.batch(&format!("CREATE PUBLICATION {} FOR TABLE {}", self.publication(), tables.join(", ")))?;
        if self.operation == Operation::UpdateFull {
            sql.batch(&format!("ALTER TABLE {} REPLICA IDENTITY FULL", self.table(0)))?;
        }
        if self.operation != Operation::Insert {
            let (table, values) = (self.table(0), self.values());
            sql.batch(&format!(
                "INSERT INTO {table} SELECT n, 'k0', {values} FROM generate_series(0, {UPDATED}::bigint - 1) n"
            ))?;
        }
        Ok(())
    }

    /// The columns' texts in the row `n`.
    fn values(&self) -> String {
        let (columns, width) = (self.columns, self.width);
        let value = |column: usize| {
            let digest = format!("left(md5((n * 31 + {column})::text), {width})");
            match width.checked_sub(DIGEST) {
                None | Some(0) => digest,
                Some(rest) => format!(
                    "{digest} || (SELECT left(text, {rest}) FROM noise WHERE number = (n * {columns} + {column}) % 256)"
                ),
            }
        };
        (0..self.columns).map(value).collect::<Vec<_>>().join(", ")
    }

    /// At least `changes` of them; how many they are.
    pub(crate) fn write(&self, sql: &Sql, changes: u64) -> Result<u64> {
        let transactions = changes.div_ceil(ROWS_PER_TRANSACTION);
        let first: i64 = match self.operation {
            Operation::Insert => sql.value(&format!("SELECT coalesce(max(id), 0) FROM {}", self.table(0)))?,
            Operation::Update | Operation::UpdateFull => 0,
        };
        sql.batch("SET synchronous_commit = off")?;
        sql.batch(&self.transactions(transactions, first))?;
        // The last commit waits for the disk, and so for all before it.
        sql.batch("RESET synchronous_commit")?;
        sql.batch("INSERT INTO requests (id, operation) VALUES ('plain-' || gen_random_uuid(), 'backlog')")?;
        Ok(transactions * ROWS_PER_TRANSACTION)
    }

    /// Behind the id `first`.
    fn transactions(&self, transactions: u64, first: i64) -> String {
        let (name, tables, rules, values) = (&self.name, self.tables, self.rules.max(1), self.values());
        let last = ROWS_PER_TRANSACTION - 1;
        let (verb, rest) = match self.operation {
            Operation::Insert => (
                "INSERT INTO",
                format!("SELECT n, 'k' || n % {rules}, {values} FROM generate_series($1, $1 + {last}) n"),
            ),
            Operation::Update | Operation::UpdateFull => {
                let columns = self.columns().collect::<Vec<_>>().join(", ");
                let new = format!("SET ({columns}) = (SELECT {values} FROM (SELECT $1 + id) AS updated (n))");
                ("UPDATE", format!("{new} WHERE id BETWEEN $1 % {UPDATED} AND $1 % {UPDATED} + {last}"))
            }
        };
        format!(
            "DO $do$ BEGIN
                 FOR transaction IN 1..{transactions} LOOP
                     EXECUTE '{verb} {name}_' || transaction % {tables} || $rest$ {rest} $rest$
                     USING transaction * {ROWS_PER_TRANSACTION} + {first}::bigint;
                     COMMIT;
                 END LOOP;
             END $do$"
        )
    }

    /// A published change that no rule takes.
    pub(crate) fn mark(&self, sql: &Sql) -> Result<()> {
        let mark = self.table(self.tables);
        sql.batch(&format!("INSERT INTO {mark} SELECT count(*) FROM {mark}"))
    }

    /// A connector of this name on the slot of this name, with its contracts.
    pub(crate) fn configure(&self, stack: &Stack, name: &str) -> Result<Configuration> {
        let schemas = self.contracts(&stack.sandbox.folder("schemas")?)?;
        Configuration::with_contracts(stack, name, &self.connector(name), &schemas)
    }

    /// The connector file; its slot and its topic have its name.
    pub(crate) fn connector(&self, name: &str) -> String {
        let publication = self.publication();
        let head = format!(
            "[source]
             id = \"/bench/{name}\"
             host = {{ env = \"OMS_HOST\" }}
             port = {{ env = \"OMS_PORT\" }}
             database = {{ env = \"OMS_DATABASE\" }}
             user = {{ env = \"OMS_USER\" }}
             password = {{ env = \"OMS_PASSWORD\" }}
             tls = {{ env = \"OMS_TLS\" }}
             slot = \"{name}\"
             adopt_slot = true
             publication = \"{publication}\"
             [snapshot]
             mode = \"none\"
             [[topic]]
             name = \"{name}\"
             key = \"string\"
             create = {{ partitions = 6, replication = 1 }}\n"
        );
        let events =
            (0..self.tables).flat_map(|table| (0..self.rules.max(1)).map(move |rule| self.event(name, table, rule)));
        head + &events.collect::<String>() + "[tables]\nunnamed = \"filter\"\n"
    }

    fn event(&self, topic: &str, table: usize, rule: usize) -> String {
        let (table, fields) = (self.table(table), self.columns().map(|column| format!("{column} = \"{column}\"\n")));
        let when = if self.rules == 0 { String::new() } else { format!("when = \"new.kind == 'k{rule}'\"\n") };
        let operation = if self.operation == Operation::Insert { "insert" } else { "update" };
        format!(
            "[[event]]
             contract = \"bench/Row{rule}/v1\"
             table = \"public.{table}\"
             on = [\"{operation}\"]
             topic = \"{topic}\"
             key = \"id\"
             {when}[event.fields]
             meta = \"meta\"
             id = \"id\"
             {}",
            fields.collect::<String>()
        )
    }

    /// Writes a contract for each rule, and what they share.
    pub(crate) fn contracts(&self, folder: &Path) -> Result<PathBuf> {
        let shared = folder.join("common/EventMeta");
        std::fs::create_dir_all(&shared)?;
        let meta = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/common/EventMeta/v1.avsc");
        std::fs::copy(meta, shared.join("v1.avsc"))?;
        for rule in 0..self.rules.max(1) {
            let contract = folder.join(format!("bench/Row{rule}"));
            std::fs::create_dir_all(&contract)?;
            std::fs::write(contract.join("v1.avsc"), self.contract(rule).to_string())?;
        }
        Ok(folder.to_owned())
    }

    fn contract(&self, rule: usize) -> Value {
        let field = |name: &str, kind: &str| json!({ "name": name, "type": kind, "doc": "A field." });
        let columns = self.columns().map(|column| field(&column, "string"));
        let fields: Vec<_> =
            [field("meta", "common.EventMeta"), field("id", "long")].into_iter().chain(columns).collect();
        json!({ "type": "record", "name": format!("Row{rule}"), "namespace": "bench", "doc": "A row.", "owner": "bench", "fields": fields })
    }
}
