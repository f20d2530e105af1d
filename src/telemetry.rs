//! Logs: to standard error, as text, logfmt or JSON, with a filter that can be changed while running.

use std::io::IsTerminal;

use clap::ValueEnum;
use thiserror::Error;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// `key=value`, as the Prometheus world logs.
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// Changes the filter of the running process.
#[derive(Debug, Clone)]
pub struct LogFilter(reload::Handle<EnvFilter, Registry>);

/// Why logging could not be set up or changed.
#[derive(Debug, Error)]
pub enum LogFilterError {
    /// The text is no filter.
    #[error(
        "log filter {filter:?} is not valid: {source}; give a level (error, warn, info, debug, trace) or directives such as info,pgbackrest_keeper::collect=debug"
    )]
    Parse {
        /// What was given.
        filter: String,
        /// What the parser says.
        source: ParseError,
    },
    /// A word that is no level.
    #[error("log level {0:?} is not known; give error, warn, info, debug, trace or off")]
    UnknownLevel(String),
    /// The subscriber is gone.
    #[error("log filter cannot be changed: {0}")]
    Reload(#[from] reload::Error),
    /// Logging was set up before.
    #[error("logging cannot be set up: {0}")]
    Install(#[from] TryInitError),
}

/// Sets up logging for the process. `filter` is a level or a list of directives.
pub fn install(filter: &str, format: LogFormat) -> Result<LogFilter, LogFilterError> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let lines: Box<dyn Layer<_> + Send + Sync> = match format {
        LogFormat::Text => {
            let ansi = std::io::stderr().is_terminal();
            fmt::layer().with_writer(std::io::stderr).with_ansi(ansi).boxed()
        }
        LogFormat::Logfmt => tracing_logfmt::builder().layer().with_writer(std::io::stderr).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).try_init()?;
    Ok(LogFilter(handle))
}

impl LogFilter {
    /// The filter in force.
    pub fn get(&self) -> Result<String, LogFilterError> {
        Ok(self.0.with_current(ToString::to_string)?)
    }

    /// Replaces the filter.
    pub fn set(&self, filter: &str) -> Result<(), LogFilterError> {
        Ok(self.0.reload(parse(filter)?)?)
    }
}

/// A bare word that is no level would be taken for a target, and silence everything else: it is refused. Directives for
/// targets alone leave the rest at `info`.
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
    use super::*;

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
