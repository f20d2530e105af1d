//! Logs: to standard error, as text, logfmt or JSON, with a filter that can be changed while running.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use clap::ValueEnum;
use thiserror::Error;
use tracing::Metadata;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::text;

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Plain text.
    Text,
    /// `key=value` pairs, as in Prometheus.
    Logfmt,
    /// One JSON object per line.
    Json,
}

/// Log lines that wait for standard error to take them. More are dropped: nothing waits for who reads the log.
const WAITING_LINES: usize = 1_000;

static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Logging while it lives. When dropped, it writes what is waiting, for about a second.
#[derive(Debug)]
pub struct Logging {
    /// Changes the filter.
    pub filter: LogFilter,
    _writer: WorkerGuard,
}

/// Changes the filter of the running process.
#[derive(Debug, Clone)]
pub struct LogFilter(reload::Handle<EnvFilter, Registry>);

/// Why logging could not be set up or changed.
#[derive(Debug, Error)]
pub enum LogFilterError {
    /// The text is not a filter.
    #[error(
        "invalid log filter {filter:?}: {source}; use a level (error, warn, info, debug, trace) or directives such as info,pgbackrest_keeper::collect=debug"
    )]
    Parse {
        /// The given text.
        filter: String,
        /// The parser's error.
        source: ParseError,
    },
    /// A word that is not a level.
    #[error("unknown log level {0:?}; use error, warn, info, debug, trace or off")]
    UnknownLevel(String),
    /// The subscriber no longer exists.
    #[error("cannot change the log filter: {0}")]
    Reload(#[from] reload::Error),
    /// Logging was set up before.
    #[error("cannot set up logging: {0}")]
    Install(#[from] TryInitError),
}

/// Sets up logging for the process. `filter` is a level or a list of directives.
pub fn install(filter: &str, format: LogFormat) -> Result<Logging, LogFilterError> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("log")
        .finish(Lines { format, to: io::stderr() });
    let _ = DROPPED.set(writer.error_counter());
    let lines: Box<dyn Layer<_> + Send + Sync> = match format {
        LogFormat::Text => fmt::layer().with_writer(writer).with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Logfmt => tracing_logfmt::builder().layer().with_writer(writer).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(writer).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines.with_filter(filter_fn(quotes_nobody)))
        .try_init()?;
    Ok(Logging { filter: LogFilter(handle), _writer: guard })
}

/// How many log lines were dropped because standard error did not take them. None before logging is set up.
#[must_use]
pub fn dropped_lines() -> Option<u64> {
    DROPPED.get().map(|counter| counter.dropped_lines() as u64)
}

/// Writes whole log lines, fit for a terminal. A line break within one is escaped, so that no field can look like a line.
struct Lines<W> {
    format: LogFormat,
    to: W,
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = String::from_utf8_lossy(line);
        let (text, end) = written.strip_suffix('\n').map_or((&*written, ""), |text| (text, "\n"));
        let fit = match self.format {
            LogFormat::Json => text::escaped_json(text),
            LogFormat::Text | LogFormat::Logfmt => text::for_terminal(text),
        };
        // One write, so that lines of several threads do not mix.
        self.to.write_all(format!("{}{end}", fit.replace('\n', "\\n")).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl LogFilter {
    /// The current filter.
    pub fn get(&self) -> Result<String, LogFilterError> {
        Ok(self.0.with_current(ToString::to_string)?)
    }

    /// Replaces the filter.
    pub fn set(&self, filter: &str) -> Result<(), LogFilterError> {
        Ok(self.0.reload(parse(filter)?)?)
    }
}

/// Independent of the filter: kube logs the full response of an API server that it cannot parse or that reports an
/// error, and that may be a Secret. As a client, rustls logs the name of the server, which may be a token. The caller reports the error.
fn quotes_nobody(line: &Metadata<'_>) -> bool {
    let target = line.target();
    let is_of_client = |rest: &str| rest.is_empty() || rest.starts_with("::");
    target != "kube_client::client" && !target.strip_prefix("rustls::client").is_some_and(is_of_client)
}

/// Rejects a bare word that is not a level: it would be taken for a target and silence everything else. Directives that
/// only name targets leave the rest at `info`.
fn parse(filter: &str) -> Result<EnvFilter, LogFilterError> {
    let words = filter.split(',').map(str::trim).filter(|word| !word.is_empty());
    let (bare, _): (Vec<&str>, Vec<&str>) = words.partition(|word| !word.contains(['=', '[']));
    if let Some(unknown) = bare.iter().find(|word| word.parse::<LevelFilter>().is_err()) {
        return Err(LogFilterError::UnknownLevel((*unknown).to_owned()));
    }
    let rest = if bare.is_empty() { "info," } else { "" };
    EnvFilter::builder()
        .parse(format!("{rest}{filter}"))
        .map_err(|source| LogFilterError::Parse { filter: filter.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn answers_of_an_api_server_are_not_logged() {
        let lines = Written::default();
        let writer = lines.clone();
        let lines_of_all = fmt::layer().with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry()
            .with(parse("trace").unwrap())
            .with(lines_of_all.with_filter(filter_fn(quotes_nobody)));
        // As a Secret whose values are no base64.
        let service = tower::service_fn(async |_: http::Request<kube::client::Body>| {
            Ok::<_, Infallible>(http::Response::new(kube::client::Body::from(
                br#"{"data": {"key": "hunter2"}}"#.to_vec(),
            )))
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let error = tracing::subscriber::with_default(subscriber, || {
            tracing::info!("told");
            runtime.block_on(async {
                let secrets: kube::Api<k8s_openapi::api::core::v1::Secret> =
                    kube::Api::default_namespaced(kube::Client::new(service, "shop"));
                secrets.get("a").await.unwrap_err()
            })
        });
        assert!(matches!(error, kube::Error::SerdeError(_)), "{error:?}");
        let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(lines.contains("told") && !lines.contains("hunter2"), "{lines}");
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_line_without_anything_that_steers_a_terminal() {
        let evil = "a\u{1b}[2J\u{9b}31m\u{202e}\nERROR b";
        for format in [LogFormat::Text, LogFormat::Logfmt, LogFormat::Json] {
            let written = Written::default();
            let writer = written.clone();
            let to = move || Lines { format, to: writer.clone() };
            let layer: Box<dyn Layer<_> + Send + Sync> = match format {
                LogFormat::Text => fmt::layer().with_writer(to).with_ansi(false).boxed(),
                LogFormat::Logfmt => tracing_logfmt::builder().layer().with_writer(to).boxed(),
                LogFormat::Json => fmt::layer().json().with_writer(to).boxed(),
            };
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
                tracing::info!(field = evil, "{evil}");
            });
            let line = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
            let (line, end) = line.split_at(line.len() - 1);
            assert!(end == "\n" && line.chars().all(text::is_printable), "{line:?}");
            assert!(line.contains("ERROR b"), "{line}");
            if format == LogFormat::Json {
                serde_json::from_str::<serde_json::Value>(line).unwrap();
            }
        }
    }

    #[test]
    fn what_would_silence_the_program_is_refused() {
        for (filter, expected) in [("debug", "debug"), ("", "info"), ("hyper=debug", "hyper=debug,info")] {
            assert_eq!(parse(filter).unwrap().to_string(), expected);
        }
        for filter in ["bogus", "warning", "info,bogus", "a=b=c"] {
            assert!(parse(filter).is_err(), "{filter}");
        }
    }
}
