//! Logging and, with the feature `otel`, traces.
//!
//! A trace consists of an HTTP request, its command, and the libvirt calls. Metrics are in
//! `http::metrics`. Without a collector no spans are created, and log lines never depend on them.

use std::io;

use tracing_subscriber::{EnvFilter, Layer, filter, layer::SubscriberExt, util::SubscriberInitExt};

/// Keeps the export running; when dropped, pending spans are sent first.
#[must_use]
pub struct Telemetry {
    #[cfg(feature = "otel")]
    provider: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
}

/// Starts logging as set by `BELVEDERE_LOG`. Must be called before the runtime starts: the exporter
/// has a separate thread.
pub fn start() -> Telemetry {
    let levels = EnvFilter::try_from_env("BELVEDERE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_filter(levels)
        .with_filter(filter::filter_fn(|metadata| metadata.is_event()));
    let registry = tracing_subscriber::registry().with(log);
    #[cfg(not(feature = "otel"))]
    {
        registry.init();
        Telemetry {}
    }
    #[cfg(feature = "otel")]
    {
        crate::tls::choose_cryptography();
        let (provider, why) = match otel::provider() {
            Ok(provider) => (provider, None),
            Err(why) => (None, Some(why)),
        };
        registry.with(provider.as_ref().map(otel::layer)).init();
        if let Some(why) = why {
            tracing::warn!("traces are not exported: {why}; check OTEL_EXPORTER_OTLP_ENDPOINT");
        }
        Telemetry { provider }
    }
}

#[cfg(feature = "otel")]
impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(Err(error)) =
            self.provider.as_ref().map(|provider| provider.shutdown_with_timeout(otel::LAST_WORDS))
        {
            tracing::warn!(%error, "the last traces could not be exported");
        }
    }
}

#[cfg(feature = "otel")]
mod otel {
    //! The OTLP exporter, configured by the variables of the OpenTelemetry specification.

    use std::time::Duration;

    use opentelemetry::trace::TracerProvider;
    use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig};
    use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
    use tracing::{Subscriber, level_filters::LevelFilter};
    use tracing_subscriber::{
        Layer,
        filter::{Targets, filter_fn},
        registry::LookupSpan,
    };

    /// How long the end of the process waits for a collector.
    pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);

    /// The trace provider; none without a configured collector.
    pub(super) fn provider() -> Result<Option<SdkTracerProvider>, ExporterBuildError> {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        if set("OTEL_EXPORTER_OTLP_ENDPOINT").or_else(|| set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")).is_none() {
            return Ok(None);
        }
        // It would fail silently: the exporter does not support TLS.
        let endpoint = set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| set("OTEL_EXPORTER_OTLP_ENDPOINT"));
        if endpoint.is_some_and(|endpoint| endpoint.starts_with("https:")) {
            return Err(ExporterBuildError::InternalFailure("the collector URL must use http".into()));
        }
        let json = set("OTEL_EXPORTER_OTLP_PROTOCOL").is_some_and(|protocol| protocol == "http/json");
        let protocol = if json { Protocol::HttpJson } else { Protocol::HttpBinary };
        let exporter = SpanExporter::builder().with_http().with_protocol(protocol).build()?;
        let mut resource = Resource::builder();
        if set("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("belvedere");
        }
        Ok(Some(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build()))
    }

    /// Only our own spans; those of the exporter's client would be exported in turn.
    pub(super) fn layer<S: Subscriber + for<'span> LookupSpan<'span>>(
        provider: &SdkTracerProvider,
    ) -> impl Layer<S> + use<S> {
        let ours = ["belvedere", "server", "hypervisor"].map(|target| (target, LevelFilter::INFO));
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("belvedere"))
            .with_filter(Targets::new().with_targets(ours))
            // Log lines contain names and addresses, and are not exported.
            .with_filter(filter_fn(|metadata| metadata.is_span()))
    }
}
