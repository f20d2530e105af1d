//! What a request passes before an endpoint: passwords, the rate limit and the configured headers.

use axum::http::StatusCode;

use crate::support::web::ask;
use crate::web::tls_auth::{Site, basic, user};

#[tokio::test]
async fn passwords_are_asked_for_everywhere_but_at_the_probes() {
    let site = Site::new();
    let server = site.start(&user("alice", "wonder:land")).await;
    let status = async |path: &str, authorization: &str| {
        ask(server.address, path, &[("authorization", authorization)]).await.status
    };
    let right = basic("alice", "wonder:land");
    assert_eq!(status("/metrics", &right).await, StatusCode::OK);
    assert_eq!(status("/no-such-page", &right).await, StatusCode::NOT_FOUND);
    for wrong in [&basic("alice", "wonder"), &basic("mallory", "wonder:land"), "Basic !", "Bearer x"] {
        assert_eq!(status("/metrics", wrong).await, StatusCode::UNAUTHORIZED, "{wrong}");
    }
    let bare = ask(server.address, "/no-such-page", &[]).await;
    assert_eq!(bare.status, StatusCode::UNAUTHORIZED);
    let challenge = bare.headers.get("www-authenticate").and_then(|value| value.to_str().ok());
    assert!(challenge.is_some_and(|challenge| challenge.starts_with("Basic realm=")), "{challenge:?}");
    assert_eq!(ask(server.address, "/healthz", &[]).await.status, StatusCode::OK);
    assert_eq!(ask(server.address, "/readyz", &[]).await.body, "no collection yet\n");
    for near in ["/healthz/", "/healthz/x", "//healthz", "/Healthz", "/%68ealthz"] {
        assert_eq!(ask(server.address, near, &[]).await.status, StatusCode::UNAUTHORIZED, "{near}");
    }
    server.stop().await;
}

#[tokio::test]
async fn headers_are_on_every_answer_and_the_rate_is_limited() {
    let site = Site::new();
    let config = format!(
        "{}http_server_config:\n  headers:\n    X-Frame-Options: deny\nrate_limit:\n  interval: 1h\n  burst: 3\n",
        user("alice", "one")
    );
    let server = site.start(&config).await;
    let alice = basic("alice", "one");
    let mut seen = Vec::new();
    for authorization in [alice.as_str(), "Basic !", &alice, &alice, "Basic !"] {
        let answer = ask(server.address, "/metrics", &[("authorization", authorization)]).await;
        assert_eq!(
            answer.headers.get("x-frame-options").map(axum::http::HeaderValue::as_bytes),
            Some(&b"deny"[..])
        );
        assert_eq!(
            answer.headers.contains_key("retry-after"),
            answer.status == StatusCode::TOO_MANY_REQUESTS
        );
        seen.push(answer.status.as_u16());
    }
    assert_eq!(seen, [200, 401, 200, 429, 429]);
    for _ in 0..5 {
        assert_eq!(ask(server.address, "/healthz", &[]).await.status, StatusCode::OK);
    }
    server.stop().await;
}
