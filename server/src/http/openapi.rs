//! The document of the API (OpenAPI 3.2), made from the table of routes and the model's types.
//!
//! What a route needs and answers is said beside the route, in `http`. The document is made once
//! for each version of OpenAPI, when it is first asked for.

use std::{borrow::Cow, collections::BTreeMap};

use model::Fault;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::table::{Access, Described};

/// A type's schema, made when the document is.
pub(super) type Schemed = fn(&mut SchemaGenerator) -> Schema;

/// The schema of a type.
pub(super) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// Declares what parameters of queries may be, each with its schema.
macro_rules! parameters {
    ($($(#[$doc:meta])* $Name:ident = $schema:expr;)*) => {$(
        $(#[$doc])*
        pub(super) struct $Name;

        impl JsonSchema for $Name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($Name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                Schema::try_from($schema).expect("an object")
            }
        }
    )*};
}

parameters! {
    /// A moment.
    Moment = json!({ "type": "string", "pattern": "^[0-9]{1,15}$|^2[0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]$" });
    /// The position of a page.
    PageKey = json!({ "type": "string", "pattern": "^[0-9]{1,15}$" });
    /// The position of a window of machines.
    WindowKey = json!({ "type": "string" });
    /// How many items.
    PageSize = json!({ "type": "integer", "minimum": 1, "maximum": 500 });
    /// A column to order by.
    Sort = {
        let columns = model::selection::COLUMNS;
        let both: Vec<String> = columns.iter().flat_map(|column| [(*column).to_owned(), format!("-{column}")]).collect();
        json!({ "type": "string", "enum": both })
    };
    /// A version of OpenAPI.
    VersionName = json!({ "type": "string", "enum": ["3.1", "3.2"] });
    /// Names of events.
    Topics = json!({ "type": "string", "pattern": format!("^(({})(,|$))*$", model::Event::KINDS.join("|")) });
    /// Names of hosts.
    Hosts = json!({ "type": "string", "pattern": "^([A-Za-z0-9][A-Za-z0-9._-]{0,62}(,[A-Za-z0-9][A-Za-z0-9._-]{0,62})*)?$" });
    /// Machines.
    Machines = json!({ "type": "string", "pattern": "^([A-Za-z0-9][A-Za-z0-9._-]{0,62}/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$" });
    /// Seconds to wait.
    Seconds = json!({ "type": "integer", "minimum": 0, "maximum": 25 });
    /// Milliseconds between points.
    Step = json!({ "type": "integer", "minimum": 1, "maximum": 86_400_000_000_u64 });
}

/// A parameter of a query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) required: bool,
    pub(super) schema: Schemed,
}

/// What an answer carries.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    /// Nothing.
    Nothing,
    /// JSON.
    Json(Schemed),
    /// Something else, of this media type.
    Other(&'static str),
    /// The stream of events.
    Stream,
}

/// What a route says of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Operation {
    pub(super) summary: &'static str,
    pub(super) query: Vec<Parameter>,
    pub(super) body: Option<Content>,
    pub(super) answers: Vec<(u16, Content)>,
    /// The question that it asks, which says what it may hold and answers.
    pub(super) question: Option<&'static model::query::About>,
}

/// The version of OpenAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// 3.1, for generators that do not know streams.
    V31,
    /// 3.2.
    V32,
}

impl Version {
    /// Reads it; 3.2 where nothing is said.
    ///
    /// # Errors
    /// `Invalid`.
    pub(crate) fn read(text: Option<&str>) -> Result<Self, Fault> {
        match text {
            None | Some("3.2" | "3.2.0") => Ok(Self::V32),
            Some("3.1" | "3.1.0") => Ok(Self::V31),
            Some(_) => Err(Fault::invalid("version", "must be 3.1 or 3.2")),
        }
    }
}

const SCHEMAS: &str = "/components/schemas";
/// The media type of errors (RFC 9457).
pub(super) const PROBLEM: &str = "application/problem+json";

/// The document.
pub(super) fn document(routes: &[Described], version: Version) -> Value {
    let mut answers =
        SchemaSettings::draft2020_12().with(|s| s.definitions_path = SCHEMAS.into()).for_serialize().into_generator();
    let mut bodies =
        SchemaSettings::draft2020_12().with(|s| s.definitions_path = SCHEMAS.into()).for_deserialize().into_generator();
    let problem = answers.subschema_for::<super::answers::Problem>().to_value();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut requests = Vec::new();
    for route in routes {
        let Some(operation) = &route.operation else { continue };
        let mut value = described(route, operation, &mut answers, version);
        if let Some(body) = operation.body {
            requests.push((
                route.path.as_str(),
                route.method.as_str().to_ascii_lowercase(),
                content(body, &mut bodies, version),
            ));
            value["requestBody"] = Value::Null;
        }
        paths.entry(&route.path).or_default().insert(route.method.as_str().to_ascii_lowercase(), value);
    }
    let mut schemas = answers.take_definitions(true);
    schemas.values_mut().for_each(enumerated);
    let mut sent = bodies.take_definitions(true);
    sent.values_mut().for_each(enumerated);
    let (renamed, more) = apart(&schemas, sent);
    schemas.extend(more);
    for (path, method, mut body) in requests {
        rename(&mut body, &renamed);
        if let Some(operation) = paths.get_mut(path).and_then(|methods| methods.get_mut(&method)) {
            operation["requestBody"] = json!({ "required": true, "content": body });
        }
    }
    json!({
        "openapi": match version { Version::V32 => "3.2.0", Version::V31 => "3.1.1" },
        "info": {
            "title": "Belvedere",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Shows, creates and runs the virtual machines of libvirt hosts. Every change is a command with a request id; its progress comes as events.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": app::routes::at("/").trim_end_matches('/') }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": { "Problem": {
                "description": "What went wrong, why, and the next step (RFC 9457)",
                "content": { PROBLEM: { "schema": problem.clone() }, "application/json": { "schema": problem } },
            } },
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "A token of `belvedere token create`" },
                "session": { "type": "apiKey", "in": "cookie", "name": "belvedere", "description": "The session of a browser" },
            },
        },
    })
}

/// One operation, without its body.
fn described(route: &Described, operation: &Operation, generator: &mut SchemaGenerator, version: Version) -> Value {
    let of_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = of_path
        .map(|name| {
            let schema = match name {
                "host" => generator.subschema_for::<model::HostId>(),
                _ => generator.subschema_for::<uuid::Uuid>(),
            };
            json!({ "name": name, "in": "path", "required": true, "schema": schema.to_value() })
        })
        .collect();
    parameters.extend(operation.query.iter().map(|parameter| {
        json!({
            "name": parameter.name, "in": "query", "required": parameter.required,
            "description": parameter.what, "schema": (parameter.schema)(generator).to_value(),
        })
    }));
    let mut responses = Map::new();
    if let Some(about) = operation.question
        && let Some((fields, answer)) = model::query::Question::schemas(about, generator)
    {
        parameters.extend(fields_of(&fields.to_value()));
        let kind = if about.text { "text/plain" } else { "application/json" };
        responses
            .insert("200".into(), json!({ "description": reason(200), "content": { kind: { "schema": answer } } }));
    }
    for (status, answer) in &operation.answers {
        let mut response = json!({ "description": reason(*status) });
        if !matches!(answer, Content::Nothing) {
            response["content"] = content(*answer, generator, version);
        }
        responses.insert(status.to_string(), response);
    }
    for class in ["4XX", "5XX"] {
        responses.insert(class.into(), json!({ "$ref": "#/components/responses/Problem" }));
    }
    let mut value = json!({
        "operationId": operation_id(route),
        "summary": operation.summary,
        "tags": [tag(&route.path)],
        "parameters": parameters,
        "responses": responses,
    });
    match route.access {
        Some(Access::Public) | None => value["security"] = json!([]),
        Some(Access::Needs(permission) | Access::NeedsAll(permission)) => {
            value["security"] = json!([{ "token": [] }, { "session": [] }]);
            value["x-permission"] = json!(permission_name(permission));
        }
    }
    value
}

/// A permission as `docs/api.md` calls it.
fn permission_name(permission: model::Permission) -> String {
    let name = format!("{permission:?}");
    name[..1].to_ascii_lowercase() + &name[1..]
}

/// The fields of a question as parameters.
fn fields_of(schema: &Value) -> Vec<Value> {
    let fields = schema["properties"].as_object().into_iter().flatten();
    let parameter = |(name, schema): (&String, &Value)| json!({ "name": name, "in": "query", "required": false, "description": schema["description"], "schema": schema });
    fields.map(parameter).collect()
}

/// What a status says.
fn reason(status: u16) -> &'static str {
    axum::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Answer")
}

/// A body by its media type.
fn content(content: Content, generator: &mut SchemaGenerator, version: Version) -> Value {
    let text = json!({ "schema": { "type": "string" } });
    match content {
        Content::Nothing => json!({}),
        Content::Json(schema) => json!({ "application/json": { "schema": schema(generator).to_value() } }),
        Content::Other(kind) if kind.starts_with("text/") => json!({ kind: text }),
        Content::Other(kind) => json!({ kind: {} }),
        Content::Stream if version == Version::V31 => {
            json!({ "text/event-stream": { "schema": { "type": "string" } } })
        }
        Content::Stream => json!({
            "text/event-stream": { "itemSchema": { "oneOf": frames(generator) } },
            "text/plain": text,
        }),
    }
}

/// The frames of the stream, one schema for each kind.
fn frames(generator: &mut SchemaGenerator) -> Vec<Value> {
    let latest = model::stats::LATEST.iter().map(|kind| (*kind, Schema::default()));
    let inventory = generator.subschema_for::<model::inventory::Snapshot>();
    let window = (model::window::KIND, generator.subschema_for::<model::window::Window>());
    let all = model::Event::schemas(generator).into_iter().chain([("inventory", inventory), window]).chain(latest);
    let frame = |(kind, schema): (&str, Schema)| {
        let data =
            json!({ "type": "string", "contentMediaType": "application/json", "contentSchema": schema.to_value() });
        json!({
            "type": "object", "required": ["event", "data"],
            "properties": { "event": { "const": kind }, "id": { "type": "string" }, "data": data },
        })
    };
    all.map(frame).collect()
}

/// What generators call the function: the method, then the path without its parameters.
fn operation_id(route: &Described) -> String {
    let (group, path) = match route.path.strip_prefix("/api/v1") {
        Some("") => ("", "abilities"),
        Some(path) => ("", path),
        None => ("server", &*route.path),
    };
    let parts = path.split(['/', '-', '.']).filter(|part| !part.is_empty());
    let mut id = route.method.as_str().to_ascii_lowercase();
    for part in std::iter::once(group).filter(|group| !group.is_empty()).chain(parts) {
        let part = part.trim_matches(['{', '}']);
        id.extend(part.chars().next().map(|c| c.to_ascii_uppercase()));
        id.push_str(part.get(1..).unwrap_or_default());
    }
    id
}

/// The group that a route stands in.
fn tag(path: &str) -> &str {
    match path.strip_prefix("/api/v1/").and_then(|rest| rest.split(['/', '.']).next()) {
        None | Some("openapi" | "journal" | "reports") => "server",
        Some("batches") => "commands",
        Some(group) => group,
    }
}

/// Schemas of what is sent, where they differ from those of what is answered: which names they take,
/// and the schemas by their new names.
fn apart(answers: &Map<String, Value>, bodies: Map<String, Value>) -> (BTreeMap<String, String>, Map<String, Value>) {
    let path = |name: &str| format!("#{SCHEMAS}/{name}");
    let mut renamed: BTreeMap<String, String> = BTreeMap::new();
    loop {
        // What refers to one that differs differs, too.
        let differs = |(name, schema): &(&String, &Value)| {
            let mut new = (*schema).clone();
            rename(&mut new, &renamed);
            answers.get(*name).is_some_and(|known| *known != new) && !renamed.contains_key(&path(name))
        };
        let more: Vec<_> = bodies.iter().filter(differs).map(|(name, _)| (path(name), path(name) + "Input")).collect();
        if more.is_empty() {
            break;
        }
        renamed.extend(more);
    }
    let more = bodies.into_iter().map(|(name, mut schema)| {
        let other = renamed.contains_key(&path(&name));
        rename(&mut schema, &renamed);
        (if other { format!("{name}Input") } else { name }, schema)
    });
    let more = more.collect();
    (renamed, more)
}

/// Words that are each described become one enumeration, which generators of clients know; what each
/// means follows the description.
fn enumerated(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(enumerated);
            let words: Option<Vec<(Value, String)>> = fields.get("oneOf").and_then(Value::as_array).and_then(|all| {
                let word = |one: &Value| Some((one.get("const")?.clone(), one["description"].as_str()?.to_owned()));
                all.iter().map(|one| word(one).filter(|_| one["type"] == "string")).collect()
            });
            let Some(words) = words else { return };
            fields.remove("oneOf");
            let meanings =
                words.iter().map(|(word, what)| format!("- `{}`: {what}", word.as_str().unwrap_or_default()));
            let what = fields.get("description").and_then(Value::as_str).unwrap_or_default();
            let what = format!("{what}\n\n{}", meanings.collect::<Vec<_>>().join("\n"));
            fields.insert("description".into(), what.into());
            fields.insert("type".into(), "string".into());
            fields.insert("enum".into(), words.into_iter().map(|(word, _)| word).collect());
        }
        Value::Array(values) => values.iter_mut().for_each(enumerated),
        _ => {}
    }
}

/// Points references to the new names.
fn rename(value: &mut Value, renamed: &BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(to)) = fields.get_mut("$ref")
                && let Some(new) = renamed.get(to)
            {
                to.clone_from(new);
            }
            fields.values_mut().for_each(|value| rename(value, renamed));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| rename(value, renamed)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refs(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| refs(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| refs(value, found)),
            _ => {}
        }
    }

    #[test]
    fn the_document_refers_to_nothing_that_is_missing_and_names_each_operation_once() {
        for version in [Version::V31, Version::V32] {
            let document = super::super::document(version);
            let mut found = Vec::new();
            refs(document, &mut found);
            for reference in found {
                let at = reference.strip_prefix('#').expect("within the document");
                assert!(document.pointer(at).is_some(), "{reference} is missing");
            }
            let operations = document["paths"].as_object().expect("paths").values();
            let operations = operations.flat_map(|methods| methods.as_object().expect("methods").values());
            let ids: Vec<&str> = operations.map(|operation| operation["operationId"].as_str().expect("text")).collect();
            let once: std::collections::BTreeSet<&&str> = ids.iter().collect();
            assert_eq!(once.len(), ids.len(), "{ids:?}");
        }
    }

    #[test]
    fn the_document_in_docs_is_that_of_this_server() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
        let text = serde_json::to_string_pretty(super::super::document(Version::V32)).expect("JSON") + "\n";
        if std::env::var_os("WRITE_OPENAPI").is_some() {
            std::fs::write(path, &text).expect("written");
        }
        let known = std::fs::read_to_string(path).unwrap_or_default();
        assert!(known == text, "the interface has changed: run `make openapi` and look at the difference");
    }
}
