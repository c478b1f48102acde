//! The reference of the interface for programs, drawn from its own OpenAPI document.
//!
//! The server draws it; the browser takes it as it is. What the document says, the server's table of
//! routes decides.

use leptos::prelude::*;

#[cfg(feature = "ssr")]
pub(crate) use self::server_view::load;
use crate::ui::{served::served, title::Title};

/// The page.
#[component]
pub(crate) fn ApiPage() -> impl IntoView {
    #[cfg(feature = "ssr")]
    let drawn = server_view::draw();
    #[cfg(not(feature = "ssr"))]
    let drawn = ();
    view! {
        <Title text="API"/>
        <div class="head"><h1>"API"</h1></div>
        {served(drawn)}
    }
}

#[cfg(feature = "ssr")]
mod server_view {
    use std::collections::BTreeMap;

    use leptos::prelude::*;
    use serde_json::{Map, Value};

    use crate::{
        backend::{Backend, Loaded, loaded},
        routes,
    };

    /// The document of the interface.
    struct Document(&'static Value);

    /// Reads the document.
    pub(crate) fn load(backend: &dyn Backend) -> Loaded {
        Loaded::of(Document(backend.api()))
    }

    pub(super) fn draw() -> AnyView {
        let Some(document) = loaded::<Document>() else { return ().into_any() };
        let document = document.0;
        let mut groups: BTreeMap<&str, Vec<(&str, &str, &Value)>> = BTreeMap::new();
        for (path, methods) in fields(&document["paths"]).into_iter().flatten() {
            for (method, operation) in fields(methods).into_iter().flatten() {
                groups.entry(text(&operation["tags"][0])).or_default().push((path, method, operation));
            }
        }
        let contents = groups
            .keys()
            .map(|name| view! { <a class="chip" href=format!("#{name}")>{(*name).to_owned()}</a> }.into_any());
        let contents = contents.collect_view();
        let schemas = fields(&document["components"]["schemas"])
            .into_iter()
            .flat_map(|all| all.iter())
            .map(schema)
            .collect_view();
        view! {
            <p class="muted">
                "Everything that pages do is available to programs. Create a token on the account page or with "
                <code>"belvedere token create"</code>" and send it as "<code>"Authorization: Bearer"</code>". The document itself is "
                <a href=routes::at(routes::OPENAPI) rel="external">"openapi.json"</a>" (OpenAPI 3.2)."
            </p>
            <nav class="chips spaced" aria-label="Contents">{contents}<a class="chip" href="#schemas">"schemas"</a></nav>
            {groups.into_iter().map(group).collect_view()}
            <section class="card spaced" id="schemas"><header><h2>"Schemas"</h2></header>{schemas}</section>
        }
        .into_any()
    }

    /// The fields of an object; none of anything else.
    fn fields(value: &Value) -> Option<&Map<String, Value>> {
        value.as_object()
    }

    fn text(value: &Value) -> &str {
        value.as_str().unwrap_or_default()
    }

    fn group((name, operations): (&str, Vec<(&str, &str, &Value)>)) -> AnyView {
        view! {
            <section class="card spaced" id=name.to_owned()>
                <header><h2>{name.to_owned()}</h2></header>
                {operations.into_iter().map(operation).collect_view()}
            </section>
        }
        .into_any()
    }

    fn operation((path, method, about): (&str, &str, &Value)) -> AnyView {
        let permission = match text(&about["x-permission"]) {
            "" => "public".to_owned(),
            permission => permission.to_owned(),
        };
        let answers = fields(&about["responses"]).into_iter().flatten().map(|(status, answer)| {
            let content = fields(&answer["content"]).into_iter().flatten().map(|(kind, content)| {
                let of = content.get("schema").or_else(|| content.get("itemSchema"));
                view! { " "{kind.clone()}" "{of.map(type_of)} }.into_any()
            });
            let what = text(&answer["description"]).to_owned();
            let content = content.collect_view();
            view! { <tr><th scope="row">{status.clone()}</th><td>{what}</td><td class="wrap">{content}</td></tr> }
                .into_any()
        });
        // Every route may answer a problem, which the introduction of errors describes once.
        let answers = answers.collect_view().into_any();
        let body = &about["requestBody"]["content"]["application/json"]["schema"];
        let body = (!body.is_null()).then(|| view! { <p>"Body: "{type_of(body)}</p> }.into_any());
        let name = format!("{} {path}", method.to_ascii_uppercase());
        let label = format!("Responses of {name}");
        view! {
            <details class="operation" id=text(&about["operationId"]).to_owned()>
                <summary><code>{name}</code>" "<span>{text(&about["summary"]).to_owned()}</span>" "<span class="faint">{permission}</span></summary>
                {parameters(&about["parameters"])}
                {body}
                {table(label, ["Status", "Meaning", "Content"], answers)}
                <pre class="mono">{curl(path, method, about)}</pre>
            </details>
        }
        .into_any()
    }

    /// The line with which a terminal does it.
    fn curl(path: &str, method: &str, about: &Value) -> String {
        let mut line = String::from("curl");
        if !text(&about["x-permission"]).is_empty() {
            line += " -H \"Authorization: Bearer $TOKEN\"";
        }
        if method != "get" {
            line += &format!(" -X {}", method.to_ascii_uppercase());
        }
        let json = &about["requestBody"]["content"]["application/json"];
        if !json.is_null() {
            line += " -H 'Content-Type: application/json' -d @body.json";
        } else if !about["requestBody"].is_null() {
            line += " -H 'Content-Type: application/octet-stream' --data-binary @file";
        }
        let required = about["parameters"].as_array().into_iter().flatten();
        let required = required.filter(|parameter| parameter["in"] == "query" && parameter["required"] == true);
        let query: Vec<String> = required.map(|parameter| format!("{0}={{{0}}}", text(&parameter["name"]))).collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        format!("{line} \"$SERVER{}{query}\"", routes::at(path))
    }

    fn parameters(all: &Value) -> AnyView {
        let all = all.as_array().map(Vec::as_slice).unwrap_or_default();
        if all.is_empty() {
            return ().into_any();
        }
        let rows = all.iter().map(|parameter| {
            let place = if parameter["in"] == "path" { "path" } else { "query" };
            let needed = if parameter["required"] == true { "required" } else { "optional" };
            view! {
                <tr>
                    <th scope="row"><code>{text(&parameter["name"]).to_owned()}</code></th>
                    <td>{format!("{place}, {needed}")}</td>
                    <td class="wrap">{type_of(&parameter["schema"])}</td>
                    <td class="wrap">{text(&parameter["description"]).to_owned()}</td>
                </tr>
            }
            .into_any()
        });
        table("Parameters".into(), ["Parameter", "Place", "Type", "Description"], rows.collect_view().into_any())
    }

    /// A table that scrolls by itself where it is too wide.
    fn table<const N: usize>(label: String, heads: [&'static str; N], rows: AnyView) -> AnyView {
        let heads = heads.map(|head| view! { <th scope="col">{head}</th> }.into_any());
        let region = format!("{label}, scrollable");
        view! {
            <div class="scroll" tabindex="0" role="region" aria-label=region><table aria-label=label>
                <thead><tr>{heads.into_iter().collect_view()}</tr></thead>
                <tbody>{rows}</tbody>
            </table></div>
        }
        .into_any()
    }

    fn schema((name, about): (&String, &Value)) -> AnyView {
        let what = text(&about["description"]).split("\n\n").next().unwrap_or_default().to_owned();
        let shape = match fields(&about["properties"]) {
            Some(properties) => table_of(properties, &about["required"]),
            None => view! { <p>{type_of(about)}</p> }.into_any(),
        };
        view! {
            <details class="operation" id=format!("schema-{name}")>
                <summary><code>{name.clone()}</code>" "<span>{what}</span></summary>
                {shape}
            </details>
        }
        .into_any()
    }

    fn table_of(properties: &Map<String, Value>, required: &Value) -> AnyView {
        let required: Vec<&str> = required.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let rows = properties.iter().map(|(name, about)| {
            let optional = if required.contains(&name.as_str()) { "" } else { "optional" };
            view! {
                <tr>
                    <th scope="row"><code>{name.clone()}</code></th>
                    <td class="wrap">{type_of(about)}</td>
                    <td>{optional}</td>
                    <td class="wrap">{text(&about["description"]).to_owned()}</td>
                </tr>
            }
            .into_any()
        });
        table("Fields".into(), ["Field", "Type", "Presence", "Description"], rows.collect_view().into_any())
    }

    /// The type of a schema in words, with links to those that have a name.
    fn type_of(schema: &Value) -> AnyView {
        let choices = ["anyOf", "oneOf"].iter().find_map(|key| schema[*key].as_array());
        if let Some(name) = schema["$ref"].as_str().and_then(|to| to.rsplit('/').next()) {
            return view! { <a href=format!("#schema-{name}")>{name.to_owned()}</a> }.into_any();
        }
        if let Some(choices) = choices {
            let each = choices
                .iter()
                .enumerate()
                .map(|(at, one)| view! { {(at > 0).then_some(" or ")}{type_of(one)} }.into_any());
            return each.collect_view().into_any();
        }
        if let Some(words) = schema["enum"].as_array() {
            let words: Vec<String> = words.iter().map(Value::to_string).collect();
            return view! { <code>{words.join(" | ")}</code> }.into_any();
        }
        if !schema["const"].is_null() {
            return view! { <code>{schema["const"].to_string()}</code> }.into_any();
        }
        if !schema["items"].is_null() {
            return view! { "list of "{type_of(&schema["items"])} }.into_any();
        }
        if let Some(properties) = fields(&schema["properties"]) {
            let fields = properties.iter().enumerate().map(|(at, (name, one))| {
                view! { {(at > 0).then_some(", ")}<code>{name.clone()}</code>": "{type_of(one)} }.into_any()
            });
            return view! { "{ "{fields.collect_view()}" }" }.into_any();
        }
        let kinds = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().map(text).collect::<Vec<_>>().join(" or "),
            kind => text(kind).to_owned(),
        };
        let format = schema["format"].as_str().map(|format| format!(" ({format})")).unwrap_or_default();
        let kind = if kinds.is_empty() { "any".to_owned() } else { kinds };
        view! { {format!("{kind}{format}")} }.into_any()
    }
}
