//! Record queries as SQL. Queries of pages use an index, however long the journal is.

use model::{HostId, RequestId};
use rusqlite::types::Value;
use uuid::Uuid;

/// A query for records; the newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Query {
    /// Only records older than this one.
    pub(crate) after: Option<u64>,
    /// The maximum number.
    pub(crate) limit: u32,
    /// Text in the name, kind, or sender.
    pub(crate) text: String,
    /// Only this request.
    pub(crate) request: Option<RequestId>,
    /// Only parts of this batch.
    pub(crate) parent: Option<RequestId>,
    /// Only on this host.
    pub(crate) host: Option<HostId>,
    /// Only on this machine.
    pub(crate) target: Option<Uuid>,
    /// Only of this kind.
    pub(crate) kind: Option<String>,
    /// Only with this outcome.
    pub(crate) outcome: Option<String>,
    /// Start, in Unix milliseconds.
    pub(crate) from: Option<u64>,
    /// End, in Unix milliseconds.
    pub(crate) to: Option<u64>,
    /// Only requests that were not refused.
    pub(crate) tasks: bool,
}

impl Query {
    /// The maximum number, within the limits of a page.
    pub(super) fn limit(&self) -> u32 {
        self.limit.clamp(1, 1_000)
    }

    /// The SQL with its values: number, intent or note, and outcome. It selects one more than
    /// requested, to detect a next page.
    pub(super) fn sql(&self) -> (String, Vec<Value>) {
        let (conditions, mut values) = self.conditions();
        values.push(Value::Integer(i64::from(self.limit()) + 1));
        let sql = format!(
            "SELECT i.seq, i.body, o.body FROM entries i LEFT JOIN entries o ON o.seq = \
             (SELECT max(seq) FROM entries WHERE request = i.request AND entry = 'outcome') \
             WHERE {conditions} ORDER BY i.seq DESC LIMIT ?"
        );
        (sql, values)
    }

    /// The conditions as SQL, with their values.
    fn conditions(&self) -> (String, Vec<Value>) {
        let mut sql = String::from(if self.tasks {
            "i.entry = 'intent' AND json_extract(i.body, '$.refused') IS NULL"
        } else {
            "i.entry != 'outcome'"
        });
        let mut values: Vec<Value> = Vec::new();
        let mut and = |condition: &str, value: Option<Value>| {
            if let Some(value) = value {
                sql.push_str(" AND ");
                sql.push_str(condition);
                values.push(value);
            }
        };
        let number =
            |number: Option<u64>| number.map(|number| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)));
        and("i.seq < ?", number(self.after));
        // The index over requests contains only intents, so this condition is needed to use it.
        and("i.entry = 'intent' AND i.request = ?", self.request.map(|id| id.to_string().into()));
        and("i.entry = 'intent' AND i.parent = ?", self.parent.map(|id| id.to_string().into()));
        // The most selective index is used: the plus prevents SQLite from using others.
        let narrow = self.target.is_some() || self.parent.is_some() || self.request.is_some();
        and(if narrow { "+i.host = ?" } else { "i.host = ?" }, self.host.as_ref().map(|host| host.to_string().into()));
        and("i.entry = 'intent' AND i.target = ?", self.target.map(|target| target.to_string().into()));
        let narrow = narrow || self.host.is_some();
        and(if narrow { "+i.kind = ?" } else { "i.kind = ?" }, self.kind.clone().map(Value::from));
        let narrow = narrow || self.kind.is_some();
        and(if narrow { "+i.at >= ?" } else { "i.at >= ?" }, number(self.from));
        and(if narrow { "+i.at <= ?" } else { "i.at <= ?" }, number(self.to));
        // SQLite folds only ASCII letters, so nothing else is folded here.
        let text = (!self.text.is_empty()).then(|| Value::from(self.text.to_ascii_lowercase()));
        and(
            "instr(lower(ifnull(i.name, '') || ' ' || i.kind || ' ' || coalesce(json_extract(i.body, '$.who'), json_extract(i.body, '$.origin.who'), '') \
             || ' ' || ifnull(i.host, '') || ' ' || ifnull(i.request, '')), ?) > 0",
            text,
        );
        and(
            "CASE WHEN json_extract(i.body, '$.refused') IS NOT NULL THEN 'refused' \
             WHEN json_extract(i.body, '$.fault') IS NOT NULL THEN 'failed' \
             WHEN i.entry = 'server' THEN 'succeeded' ELSE ifnull(o.outcome, 'accepted') END = ?",
            self.outcome.clone().map(Value::from),
        );
        (sql, values)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, params_from_iter};

    use super::{super::LAYOUT, *};

    /// SQLite's query plan.
    fn plan(query: &Query) -> String {
        let connection = Connection::open_in_memory().expect("opens");
        connection.execute_batch(LAYOUT).expect("laid out");
        let (sql, values) = query.sql();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("is SQL");
        let steps = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).expect("runs");
        steps.collect::<Result<Vec<_>, _>>().expect("read").join("; ")
    }

    #[test]
    fn what_pages_ask_for_is_found_by_an_index() {
        let id = RequestId(Uuid::from_u128(1));
        let host = Some("atlas".parse().expect("a name"));
        for (query, index) in [
            (Query { request: Some(id), ..Query::default() }, "intents"),
            (Query { parent: Some(id), ..Query::default() }, "children"),
            (Query { target: Some(id.0), host: host.clone(), ..Query::default() }, "targets"),
            (Query { host: host.clone(), kind: Some("start".into()), ..Query::default() }, "hosts"),
            (Query { host, from: Some(1), to: Some(9), ..Query::default() }, "hosts"),
            (Query { kind: Some("start".into()), ..Query::default() }, "kinds"),
        ] {
            let plan = plan(&query);
            assert!(plan.contains(&format!("SEARCH i USING INDEX {index} ")), "{query:?}: {plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{query:?} comes in its order: {plan}");
            assert!(plan.contains("SEARCH o USING INTEGER PRIMARY KEY"), "{query:?}: {plan}");
        }
        // The newest records are at the end, so a backward scan ends soon.
        for query in [Query::default(), Query { tasks: true, ..Query::default() }] {
            let plan = plan(&query);
            assert!(plan.starts_with("SCAN i;") && !plan.contains("TEMP B-TREE"), "{plan}");
        }
    }
}
