//! A plain HTTP client for tests that wait for the answer.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::header::HeaderMap;
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Response {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Asks for a URL with headers and reads the whole answer. An error where nobody listens.
pub(crate) fn get(url: &str, headers: &[(&str, &str)]) -> Result<Response, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut request = Request::get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    runtime.block_on(async {
        let answer = Client::builder(TokioExecutor::new()).build_http().request(request);
        let answer = tokio::time::timeout(std::time::Duration::from_mins(2), answer)
            .await
            .map_err(|_| format!("{url} does not answer"))?
            .map_err(|error| format!("{url}: {error:?}"))?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| format!("{url}: {error:?}"))?.to_bytes();
        Ok(Response { status: parts.status, headers: parts.headers, body })
    })
}
