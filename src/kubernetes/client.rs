//! The connection to the API server, and calls with a deadline.

use std::error::Error;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::client::AuthError;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

use crate::text;

/// The timeout of a call that reads or writes one object.
pub const CALL_DEADLINE: Duration = Duration::from_secs(15);

/// The timeout for connecting.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// The read timeout. Calls have their own deadlines; this is for watches, where a dead connection looks like one
/// without events. The API server ends a watch earlier, and a connection to a command is pinged every minute.
const LONGEST_SILENCE: Duration = Duration::from_mins(5);
/// Maximum characters of a message of a server.
const LONGEST_MESSAGE: usize = 500;
const OURSELVES: &str = concat!("pgbackrest-keeper/", env!("CARGO_PKG_VERSION"));

/// How to find the API server.
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    /// A kubeconfig file. `None`: the service account of the pod, or `KUBECONFIG` and `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig.
    pub context: Option<String>,
}

/// Why no connection can be configured.
#[derive(Debug, thiserror::Error)]
#[error("cannot configure the connection to the Kubernetes API server: {0}")]
pub struct ConnectError(String);

/// Creates a client, without sending a request. kube's retries are disabled: callers have their own backoff.
pub async fn connect(options: &ConnectOptions) -> Result<kube::Client, ConnectError> {
    let failed = |error: &(dyn Error + 'static)| ConnectError(describe(error));
    let context = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    let mut config = match (&options.kubeconfig, &options.context) {
        (Some(file), _) => {
            let file = Kubeconfig::read_from(file).map_err(|error| failed(&error))?;
            kube::Config::from_custom_kubeconfig(file, &context).await.map_err(|error| failed(&error))?
        }
        (None, Some(_)) => kube::Config::from_kubeconfig(&context).await.map_err(|error| failed(&error))?,
        (None, None) => kube::Config::infer().await.map_err(|error| failed(&error))?,
    };
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_DEADLINE);
    config.read_timeout = Some(LONGEST_SILENCE);
    config.headers.push((USER_AGENT, HeaderValue::from_static(OURSELVES)));
    // Another part of the process may already have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    kube::Client::try_from(config).map_err(|error| failed(&error))
}

/// The kind of a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are those of Kubernetes")]
pub enum CallFailure {
    NotFound,
    AlreadyExists,
    Conflict,
    Forbidden,
    Invalid,
    Throttled,
    Unavailable,
    Timeout,
    Transport,
    Other,
}

impl CallFailure {
    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::Conflict => "conflict",
            Self::Forbidden => "forbidden",
            Self::Invalid => "invalid",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Transport => "transport",
            Self::Other => "other",
        }
    }

    fn of(error: &kube::Error) -> Self {
        let kube::Error::Api(status) = error else {
            return match error {
                kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::ReadEvents(_) => {
                    Self::Transport
                }
                _ => Self::Other,
            };
        };
        match status.code {
            401 | 403 => Self::Forbidden,
            404 => Self::NotFound,
            409 if status.reason == "AlreadyExists" => Self::AlreadyExists,
            409 => Self::Conflict,
            400 | 422 => Self::Invalid,
            429 => Self::Throttled,
            500..=599 => Self::Unavailable,
            _ => Self::Other,
        }
    }
}

/// A call that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}: {message}")]
pub struct CallError {
    /// The attempted call, such as `apply CronJob pgbackrest-a-repo1-full`.
    pub what: String,
    /// The kind of failure.
    pub failure: CallFailure,
    /// The message of the server or the connection, bounded, on one line.
    pub message: String,
}

impl CallError {
    /// Whether the object does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.failure == CallFailure::NotFound
    }

    /// Whether the same call may succeed later without other changes.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.failure,
            CallFailure::Conflict
                | CallFailure::Throttled
                | CallFailure::Unavailable
                | CallFailure::Timeout
                | CallFailure::Transport
        )
    }

    /// Converts the result of a call.
    pub(super) fn of(what: String, error: &kube::Error) -> Self {
        let message = match error {
            kube::Error::Api(status) => {
                one_line(&format!("{} ({} {})", status.message, status.code, status.reason))
            }
            other => describe(other),
        };
        Self { what, failure: CallFailure::of(error), message }
    }
}

/// Awaits a call until `deadline`.
pub async fn call<T>(
    what: impl Into<String>,
    deadline: Duration,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, CallError> {
    let what = what.into();
    match tokio::time::timeout(deadline, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(CallError::of(what, &error)),
        Err(_) => {
            let message = format!("no response within {}", humantime::format_duration(deadline));
            Err(CallError { what, failure: CallFailure::Timeout, message })
        }
    }
}

/// The error with its causes.
fn describe(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    if let Some(cause) = causes.clone().find_map(without_credentials) {
        // The error above repeats it.
        return one_line(&cause);
    }
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    // Many errors repeat their cause.
    texts.dedup_by(|cause, error| error.contains(cause.as_str()));
    one_line(&texts.join(": "))
}

/// Safe messages for errors that may quote credentials.
fn without_credentials(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(KubeconfigError::Parse(error)) = error.downcast_ref() {
        let place =
            error.location().map(|place| format!(" at line {}, column {}", place.line(), place.column()));
        return Some(format!("the kubeconfig is invalid{}", place.unwrap_or_default()));
    }
    if let Some(
        kube::Error::ProxyProtocolDisabled { proxy_url, .. }
        | kube::Error::ProxyProtocolUnsupported { proxy_url },
    ) = error.downcast_ref()
    {
        let host = proxy_url.host().unwrap_or_default();
        return Some(format!("cannot use proxy {host}: connections through a proxy are not supported"));
    }
    match error.downcast_ref()? {
        AuthError::AuthExecParse(_) => Some("the credential plugin printed invalid output".to_owned()),
        // Its arguments and variables may be credentials too.
        AuthError::AuthExecRun { out, .. } => {
            Some(format!("the credential plugin exited with {}", out.status))
        }
        _ => None,
    }
}

/// A message on one line, not too long.
pub(super) fn one_line(message: &str) -> String {
    text::one_line(message, LONGEST_MESSAGE)
}
