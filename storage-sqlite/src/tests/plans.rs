//! Every statement finds its rows by an index.

use rusqlite::Connection;

use crate::rows::{message_columns, room_columns};
use crate::{Options, Store};

/// All that prepares statements.
const SOURCES: &[(&str, &str)] = &[
    ("append", include_str!("../append.rs")),
    ("expansions", include_str!("../expansions.rs")),
    ("history", include_str!("../history.rs")),
    ("members", include_str!("../members.rs")),
    ("messages", include_str!("../messages.rs")),
    ("notifications", include_str!("../notifications.rs")),
    ("positions", include_str!("../positions.rs")),
    ("rooms", include_str!("../rooms.rs")),
    ("server_state", include_str!("../server_state.rs")),
    ("subscriptions", include_str!("../subscriptions.rs")),
    ("sweep", include_str!("../sweep.rs")),
    ("tenants", include_str!("../tenants.rs")),
];

/// What may be walked from its start: it holds a few rows, or only those that are wanted.
const WALKS: &[&str] = &[
    // What is not expanded yet, in order; all of it is asked for.
    "SCAN e",
    // One row for each AUTOINCREMENT.
    "SCAN sqlite_sequence",
    // Partial indexes that hold nothing but what is deleted.
    "SCAN rooms USING INDEX idx_rooms_deleted",
    "SCAN tenants USING INDEX idx_tenants_deleted",
    "SCAN CONSTANT ROW",
];

#[test]
fn every_statement_finds_its_rows_by_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let connection = Store::open(Options::new(directory.path().join("chat.db"))).unwrap().connect_writer().unwrap();
    let mut count = 0;
    for (name, source) in SOURCES {
        let statements = statements(source);
        assert!(!statements.is_empty(), "{name}");
        count += statements.len();
        for statement in statements {
            let plan = plan(&connection, &statement);
            let walks: Vec<_> = plan.iter().filter(|step| step.starts_with("SCAN")).collect();
            assert!(walks.iter().all(|step| WALKS.contains(&step.as_str())), "{name}: {statement}: {plan:?}");
        }
    }
    assert!(count > 80, "{count} statements were found");
}

#[test]
fn no_foreign_key_is_checked_without_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let connection = Store::open(Options::new(directory.path().join("chat.db"))).unwrap().connect_writer().unwrap();
    let keys: Vec<(String, String)> = connection
        .prepare(
            "SELECT s.name, f.\"from\" FROM sqlite_schema s, pragma_foreign_key_list(s.name) f WHERE s.type = 'table'",
        )
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert!(keys.len() > 5, "{keys:?}");
    for (table, column) in keys {
        let plan = plan(&connection, &format!("SELECT 1 FROM {table} WHERE {column} = ?1"));
        assert!(plan.iter().all(|step| step.starts_with("SEARCH")), "{table}.{column}: {plan:?}");
    }
}

fn plan(connection: &Connection, statement: &str) -> Vec<String> {
    let mut explained = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {statement}"))
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
    let nothing = (0..explained.parameter_count()).map(|_| None::<i64>);
    explained
        .query_map(rusqlite::params_from_iter(nothing), |row| row.get(3))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

/// The statements among a source's string literals.
fn statements(source: &str) -> Vec<String> {
    let code: Vec<_> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let mut text = code.join("\n").split_whitespace().collect::<Vec<_>>().join(" ");
    for (columns, names) in [
        ("room_columns", room_columns!()),
        ("message_columns", message_columns!()),
        ("tenant_columns", "t.tenant_key, t.tenant_id, t.name, t.config, t.created_at"),
    ] {
        text = text.replace(&format!("\", {columns}!(), \""), names);
    }
    let literals = text.split('"').skip(1).step_by(2);
    let verbs = ["SELECT ", "INSERT ", "UPDATE ", "DELETE "];
    literals.filter(|text| verbs.iter().any(|verb| text.starts_with(verb))).map(str::to_owned).collect()
}
