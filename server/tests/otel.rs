//! Traces sent to a collector over HTTP, by the real executable.

mod support;

use axum::{Json, Router, extract::State, routing::post};
use serde_json::{Value, json};
use support::process::Process;
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Duration, Instant, timeout},
};

/// The machine of libvirt's default test host.
const MACHINE: &str = "6695eb01-f6a4-8304-79aa-97f2502e193f";

/// A collector, and the spans it receives.
async fn collector() -> (String, UnboundedReceiver<Value>) {
    async fn take(State(told): State<UnboundedSender<Value>>, Json(body): Json<Value>) -> Json<Value> {
        for resource in body["resourceSpans"].as_array().expect("a list") {
            for scope in resource["scopeSpans"].as_array().expect("a list") {
                for span in scope["spans"].as_array().expect("a list") {
                    told.send(json!({ "span": span, "resource": resource["resource"] })).ok();
                }
            }
        }
        Json(json!({}))
    }
    let (told, spans) = unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let routes = Router::new().route("/v1/traces", post(take)).with_state(told);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (format!("http://{address}"), spans)
}

async fn traced(endpoint: &str) -> Process {
    let folder = tempfile::TempDir::new().expect("a folder").keep();
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    Process::at(
        "127.0.0.1:0",
        &["--connect", "atlas=test:///default", "--data", folder.to_str().expect("text")],
        &environment,
    )
    .await
}

/// The next span with a name, and all before it.
async fn named(spans: &mut UnboundedReceiver<Value>, name: &str, seen: &mut Vec<Value>) -> Value {
    let wait = async {
        loop {
            let told = spans.recv().await.expect("the collector lives");
            seen.push(told.clone());
            if told["span"]["name"] == name {
                return told;
            }
        }
    };
    timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("no span {name} among {seen:#?}"))
}

fn attribute<'a>(span: &'a Value, key: &str) -> &'a Value {
    let all = span["attributes"].as_array().expect("a list");
    all.iter().find(|pair| pair["key"] == key).map_or(&Value::Null, |pair| &pair["value"])
}

#[tokio::test]
async fn a_command_is_one_trace_from_the_request_to_libvirt() {
    let (endpoint, mut spans) = collector().await;
    let process = traced(&endpoint).await;
    let request = process.send(MACHINE, "pause").await;
    let mut seen = Vec::new();
    // A span ends after its children, so the request is reported last.
    let asked = named(&mut spans, "POST /api/v1/commands", &mut seen).await["span"].clone();
    let find = |name: &str| {
        let same = |told: &&Value| told["span"]["name"] == name;
        seen.iter().find(same).cloned().unwrap_or_else(|| panic!("no span {name} among {seen:#?}"))
    };
    let (command, call) = (find("command pause"), find("libvirt command"));
    assert_eq!(attribute(&command["span"], "request.id")["stringValue"], request);
    assert_eq!(attribute(&command["span"], "outcome")["stringValue"], "succeeded");
    let service = attribute(&command["resource"], "service.name").clone();
    assert_eq!(service["stringValue"], "belvedere");
    let call = &call["span"];
    assert_eq!(call["traceId"], asked["traceId"]);
    assert_eq!(command["span"]["parentSpanId"], asked["spanId"]);
    assert_eq!(call["parentSpanId"], command["span"]["spanId"]);
    assert_eq!(attribute(&asked, "http.route")["stringValue"], "/api/v1/commands");
}

#[tokio::test]
async fn an_address_with_a_secret_is_in_no_span() {
    let (endpoint, mut spans) = collector().await;
    let process = traced(&endpoint).await;
    process.json("GET", "/login/extremely-secret?token=hidden", &Value::Null).await.expect("answers");
    let mut seen = Vec::new();
    named(&mut spans, "GET /login/{secret}", &mut seen).await;
    let all = serde_json::to_string(&seen).expect("text");
    assert!(!all.contains("extremely-secret") && !all.contains("hidden"), "{all}");
}

#[tokio::test]
async fn a_collector_that_is_away_delays_nothing() {
    let mut process = traced("http://127.0.0.1:9").await;
    let request = process.send(MACHINE, "pause").await;
    process.ended_task(&request).await;
    let began = Instant::now();
    process.signal("-TERM");
    process.ended().await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}
