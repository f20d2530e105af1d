//! The endpoints. Every response is built from the current snapshot; none starts or waits for a command.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, HeaderName, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::collect::store::Store;
use crate::memory::Bounds;
use crate::memory::responses::BodyMemory;
use crate::metrics::collection::ConfigurationKind;
use crate::metrics::exposition::{self, ClusterMetrics, Dynamic, EncodeError, Format};
use crate::metrics::{CollectionMetrics, OperatorMetrics, Options, ProcessFigures};
use crate::telemetry::LogFilter;

use super::health::ProbeSource;
use super::page::fleet::{self, FleetContext};
use super::page::{self, PageContext};
use super::web_config::WebConfigHandle;

/// How long a reload may take before the caller gets an error.
const RELOAD_DEADLINE: Duration = Duration::from_secs(10);

/// A page of a fleet is made of facts about all clusters, so one is rendered at a time.
static PAGES: Semaphore = Semaphore::const_new(1);

/// Paths that cannot be used as the telemetry path.
pub const RESERVED_PATHS: [&str; 4] = ["/healthz", "/readyz", "/-/reload", "/-/log-filter"];

/// The data that the endpoints serve.
#[derive(Debug)]
pub struct AppState {
    /// Holds the current snapshot.
    pub store: Arc<Store>,
    /// The source of the probes.
    pub health: Arc<dyn ProbeSource>,
    /// Set in the operator. The status page then shows its clusters.
    pub operator: Option<Arc<ClusterMetrics>>,
    /// The program's own counters.
    pub collection: Arc<CollectionMetrics>,
    /// Which metrics are served.
    pub options: Arc<Options>,
    /// The path of the metrics.
    pub telemetry_path: String,
    /// The web configuration, for the result of its last load.
    pub web_config: WebConfigHandle,
    /// The title of the status page: the name of the host.
    pub title: String,
    /// The interval of collections.
    pub interval: Duration,
    /// Whether backups are collected at all.
    pub collects: bool,
    /// Reads the process metrics at each scrape.
    pub own_process: fn() -> ProcessFigures,
    /// The lifecycle endpoints, if enabled.
    pub lifecycle: Option<Lifecycle>,
}

/// Changes the running process.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    /// Requests a reload and receives the result.
    pub reload: mpsc::Sender<ReloadRequest>,
    /// Changes the log filter.
    pub log_filter: LogFilter,
}

/// The sender of the result of a reload.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// The router of all endpoints.
pub fn router(state: AppState) -> Router {
    let mut router = Router::new()
        .route(&state.telemetry_path, get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz));
    if state.telemetry_path != "/" {
        router = router.route("/", get(status_page));
    }
    if let Some(lifecycle) = state.lifecycle.clone() {
        router = router.merge(
            Router::new()
                .route("/-/reload", post(reload).put(reload))
                .route("/-/log-filter", get(log_filter).put(set_log_filter))
                .with_state(lifecycle),
        );
    }
    router.with_state(Arc::new(state))
}

fn now() -> DateTime<Utc> {
    Utc::now()
}
async fn metrics(State(state): State<Arc<AppState>>, headers: HeaderMap) -> Response {
    let format = exposition::negotiate(header(&headers, ACCEPT).as_deref());
    let gzip = exposition::accepts_gzip(header(&headers, ACCEPT_ENCODING).as_deref());
    match answer(&state, format, gzip) {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "Failed to encode metrics");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
        }
    }
}

fn answer(state: &AppState, format: Format, gzip: bool) -> Result<Response, EncodeError> {
    let published = state.store.load();
    let read = state.web_config.last_reload();
    state.collection.config_read(
        ConfigurationKind::Web,
        read.error.is_none(),
        DateTime::from(read.last_success),
    );
    let clusters = state.operator.as_ref();
    let body = published.body.at(now(), format)?;
    let body = match clusters {
        Some(clusters) => clusters.joined(&body, format),
        None => body,
    };
    let dynamic = exposition::dynamic_part(
        &Dynamic {
            static_part: &body,
            collection: &state.collection,
            operator: clusters.map(|clusters| clusters.operator()),
            process: Some((state.own_process)()),
            options: &state.options,
        },
        format,
    )?;
    let response = Response::builder()
        .header(CONTENT_TYPE, format.content_type())
        .header(VARY, "Accept, Accept-Encoding");
    let response = if gzip {
        let shared = body.buffers();
        let pieces = exposition::gzip(&body, &dynamic)?;
        let length: usize = pieces.iter().map(Bytes::len).sum();
        let of_others: usize = shared.iter().map(Bytes::len).sum();
        let memory = BodyMemory { own: length.saturating_sub(of_others) as u64, shared };
        let response = response.extension(memory);
        let body = Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, Infallible>)));
        response.header(CONTENT_ENCODING, "gzip").header(CONTENT_LENGTH, length).body(body)
    } else {
        let chunks = exposition::plain(&body, dynamic, Bounds::of_process().shared_text())?;
        let length = chunks.length();
        let memory = BodyMemory { own: chunks.own_memory(), shared: chunks.buffers() };
        let response = response.extension(memory);
        response.header(CONTENT_LENGTH, length).body(Body::from_stream(stream::iter(chunks)))
    };
    Ok(response
        .unwrap_or_else(|error| (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()))
}

/// All values of a header that may be repeated, as one list.
fn header(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// The query of the status page.
#[derive(Debug, Deserialize)]
struct PageQuery {
    /// Only this stanza.
    stanza: Option<String>,
    /// Only this cluster of a fleet.
    cluster: Option<String>,
}

async fn status_page(State(state): State<Arc<AppState>>, Query(query): Query<PageQuery>) -> Response {
    let html = match &state.operator {
        // Assessing every cluster takes too long for a thread that serves other requests.
        Some(clusters) => {
            let (state, operator) = (Arc::clone(&state), Arc::clone(clusters.operator()));
            // Never closed.
            let _alone = PAGES.acquire().await;
            let page = tokio::task::spawn_blocking(move || fleet_page(&state, &operator, &query)).await;
            match page {
                Ok(page) => page,
                Err(error) => {
                    tracing::error!(%error, "Failed to render status page");
                    return StatusCode::INTERNAL_SERVER_ERROR.into_response();
                }
            }
        }
        None => stanza_page(&state, &query),
    };
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, page::CONTENT_SECURITY_POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (headers, html).into_response()
}

fn fleet_page(state: &AppState, operator: &OperatorMetrics, query: &PageQuery) -> String {
    let (trouble, leader) = (state.health.ready().err(), state.health.leader());
    let context = FleetContext {
        title: &state.title,
        metrics_path: &state.telemetry_path,
        interval: state.interval,
        collects: state.collects,
        version: env!("CARGO_PKG_VERSION"),
        trouble: trouble.as_deref(),
        leader: leader.as_deref(),
        cluster: query.cluster.as_deref(),
    };
    let now = now();
    fleet::render(&operator.overview(now), &state.store.load().fleet, &context, now)
}

fn stanza_page(state: &AppState, query: &PageQuery) -> String {
    let published = state.store.load();
    let context = PageContext {
        title: &state.title,
        metrics_path: &state.telemetry_path,
        interval: state.interval,
        collects: state.collects,
        version: env!("CARGO_PKG_VERSION"),
        stanza: query.stanza.as_deref(),
    };
    page::render(&published.snapshot, &context, now())
}

async fn healthz(State(state): State<Arc<AppState>>) -> Response {
    probed(state.health.alive(), "ok\n")
}

async fn readyz(State(state): State<Arc<AppState>>) -> Response {
    probed(state.health.ready(), "ready\n")
}

fn probed(answer: Result<(), String>, good: &'static str) -> Response {
    match answer {
        Ok(()) => good.into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn reload(State(lifecycle): State<Lifecycle>) -> Response {
    let (answer, outcome) = oneshot::channel();
    if lifecycle.reload.try_send(answer).is_err() {
        return (StatusCode::SERVICE_UNAVAILABLE, "a reload is already running\n").into_response();
    }
    match timeout(RELOAD_DEADLINE, outcome).await {
        Ok(Ok(Ok(()))) => "reloaded; a new collection has started\n".into_response(),
        Ok(Ok(Err(problem))) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{problem}\n")).into_response(),
        Ok(Err(_)) | Err(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "the reload did not finish in time; see the log\n")
                .into_response()
        }
    }
}

async fn set_log_filter(State(lifecycle): State<Lifecycle>, filter: String) -> Response {
    match lifecycle.log_filter.set(filter.trim()) {
        Ok(()) => {
            tracing::info!(filter = filter.trim(), "Log filter changed");
            "changed\n".into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

async fn log_filter(State(lifecycle): State<Lifecycle>) -> Response {
    match lifecycle.log_filter.get() {
        Ok(filter) => format!("{filter}\n").into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
