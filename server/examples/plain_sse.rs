//! The reference of benchmark B5: axum's server-sent events with a keep-alive and nothing else.

use std::{convert::Infallible, io, time::Duration};

use axum::{
    Router,
    response::sse::{Event, KeepAlive, Sse},
    routing::get,
};
use futures_util::stream::{self, StreamExt};
use tokio::net::TcpListener;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the bench reads the address from there")]
async fn main() -> io::Result<()> {
    let events = async || {
        let hello = stream::iter([Ok::<_, Infallible>(Event::default().event("hello").data("{}"))]);
        Sse::new(hello.chain(stream::pending())).keep_alive(KeepAlive::new().interval(Duration::from_secs(10)))
    };
    let router = Router::new().route("/events", get(events));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    axum::serve(listener, router.into_make_service()).await
}
