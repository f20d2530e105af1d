//! Runs before every endpoint: rate limit, password, configured headers.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Extension, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::auth::{AuthResult, Checker};
use super::client::ClientAddress;
use super::rate_limit::Buckets;
use super::web_config::{WebConfig, WebConfigHandle};

/// Paths of the probes. They need no password, which a kubelet does not have, and take no token of the rate limit.
pub(super) const OPEN_PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// The state of the gate between requests.
#[derive(Debug, Clone)]
pub(super) struct Middleware {
    pub(super) config: WebConfigHandle,
    pub(super) checker: Checker,
    pub(super) buckets: Arc<Buckets>,
}

/// Passes a request on or rejects it, in the order of the toolkit: rate limit, then password.
pub(super) async fn filter(
    State(middleware): State<Middleware>,
    Extension(client): Extension<ClientAddress>,
    request: Request,
    next: Next,
) -> Response {
    if !has_valid_host(&request) {
        let text = "an HTTP/1.1 request needs exactly one Host header\n";
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    let config = middleware.config.current();
    let authorization = request.headers().get(AUTHORIZATION).cloned();
    let path = request.uri().path().to_owned();
    let mut response = match middleware.refusal(&config, client, path, authorization).await {
        Some(refusal) => refusal,
        None => next.run(request).await,
    };
    for (name, value) in &config.headers {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    response
}

impl Middleware {
    async fn refusal(
        &self,
        config: &WebConfig,
        client: ClientAddress,
        path: String,
        authorization: Option<HeaderValue>,
    ) -> Option<Response> {
        if OPEN_PATHS.contains(&path.as_str()) {
            return None;
        }
        // Where passwords are required, those without one cannot use up the tokens of others.
        let of = (!config.users.is_empty()).then_some(client);
        if let Some(limit) = config.rate_limit
            && let Err(wait) = self.buckets.take(of, limit, Instant::now())
        {
            let seconds = HeaderValue::from(wait.as_secs().saturating_add(1));
            return Some(answer(StatusCode::TOO_MANY_REQUESTS, (RETRY_AFTER, seconds)));
        }
        if config.users.is_empty() {
            return None;
        }
        let authorization = authorization.as_ref().and_then(|value| value.to_str().ok());
        match self.checker.check(&config.users, client, authorization).await {
            AuthResult::Accepted => None,
            AuthResult::Refused => {
                let challenge =
                    HeaderValue::from_static("Basic realm=\"pgbackrest-keeper\", charset=\"UTF-8\"");
                Some(answer(StatusCode::UNAUTHORIZED, (WWW_AUTHENTICATE, challenge)))
            }
            AuthResult::Busy => {
                Some(answer(StatusCode::SERVICE_UNAVAILABLE, (RETRY_AFTER, HeaderValue::from_static("1"))))
            }
        }
    }
}

/// A server has to reject a request by HTTP/1.1 without a Host, or with more than one (RFC 9112 §3.2).
fn has_valid_host(request: &Request) -> bool {
    let hosts = request.headers().get_all(HOST).iter().count();
    hosts == 1 || hosts == 0 && request.version() != Version::HTTP_11
}

fn answer(status: StatusCode, header: (axum::http::HeaderName, HeaderValue)) -> Response {
    let text = format!("{}\n", status.canonical_reason().unwrap_or_default());
    (status, [header], text).into_response()
}
