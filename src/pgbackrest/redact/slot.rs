//! The variable parts of a wording, and which of their values are shown.

use core::net::IpAddr;

use super::{HIDDEN, nested, path};
use crate::pgbackrest::{exit_code, options};

/// The kind of a variable part. [`Slot::shown`] decides what is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// Anything: a value of an option, a line of a file, a query.
    Hidden,
    /// An option that pgBackRest has.
    Option,
    /// The name of an environment variable without `PGBACKREST_`, as an option.
    Variable,
    /// The options of a command line.
    Options,
    /// One of the words that an option is limited to.
    Choice,
    /// Several of them.
    Choices,
    /// A path, of which pgBackRest derives the end.
    Path,
    /// Labels of backups, names of WAL files, ids of archives.
    Names,
    /// A host with a port and an address.
    Host,
    /// A number, perhaps with a unit.
    Number,
    /// Several of them.
    Numbers,
    /// A checksum.
    Hex,
    Version,
    Lsn,
    /// A stanza, or a section.
    Stanza,
    /// `repo1`
    Group,
    /// A command of pgBackRest.
    Command,
    /// A class of pgBackRest's errors.
    Class,
    /// A type of backup.
    BackupType,
    /// `remote-0 tls protocol`
    Process,
    /// A user of the system, perhaps with a group; or of PostgreSQL.
    User,
    Signal,
    /// A code by which a server names an error.
    Code,
    /// `404 (Not Found)`
    Http,
    /// An error message of a library.
    Reason,
    /// A shared library.
    Library,
    /// Another message.
    Message,
}

impl Slot {
    pub(super) fn of(name: &str) -> Self {
        match name {
            "option" => Self::Option,
            "variable" => Self::Variable,
            "options" => Self::Options,
            "choice" => Self::Choice,
            "choices" => Self::Choices,
            "path" => Self::Path,
            "name" => Self::Names,
            "host" => Self::Host,
            "n" => Self::Number,
            "numbers" => Self::Numbers,
            "hex" => Self::Hex,
            "version" => Self::Version,
            "lsn" => Self::Lsn,
            "stanza" => Self::Stanza,
            "repo" => Self::Group,
            "command" => Self::Command,
            "class" => Self::Class,
            "type" => Self::BackupType,
            "process" => Self::Process,
            "user" => Self::User,
            "signal" => Self::Signal,
            "code" => Self::Code,
            "http" => Self::Http,
            "reason" => Self::Reason,
            "library" => Self::Library,
            "message" => Self::Message,
            _ => Self::Hidden,
        }
    }

    /// The part of the value that is shown; `None` if nothing is.
    pub(super) fn shown(self, value: &str) -> Option<String> {
        let is_shown = match self {
            Self::Hidden => false,
            Self::Path => return Some(path::shown(value)),
            Self::Names => return Some(value.split(", ").map(path::shown).collect::<Vec<_>>().join(", ")),
            Self::Message => return Some(nested(value)),
            Self::Options => return Some(command_line(value)),
            Self::Http => return http(value),
            Self::Option => is_option(value),
            Self::Variable => is_of(value, 64, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
            Self::Choice => is_choice(value),
            Self::Choices => value.split(", ").all(|word| is_choice(word.trim_matches('\''))),
            Self::Host => is_host(value),
            Self::Number => is_number(value),
            Self::Numbers => value.split(", ").all(|part| part.split('-').all(is_number)),
            Self::Hex => value.len() >= 16 && is_of(value, 128, |c| c.is_ascii_hexdigit()),
            Self::Version => {
                value.starts_with(|c: char| c.is_ascii_digit())
                    && is_of(value, 16, |c| c.is_ascii_digit() || ".-devbtarcl".contains(c))
            }
            Self::Lsn => is_of(value, 17, |c| c.is_ascii_hexdigit() || c == '/') && value.contains('/'),
            Self::Stanza => is_of(value, 96, |c| c.is_ascii_alphanumeric() || "._-:".contains(c)),
            Self::Group => path::is_group(value),
            Self::Command => is_command(value),
            Self::Class => exit_code::code_of(value).is_some(),
            Self::BackupType => matches!(value, "full" | "diff" | "incr"),
            Self::Process => value.split(' ').all(is_process),
            Self::User => {
                is_of(value, 64, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-:".contains(c))
            }
            Self::Signal => is_of(value, 10, |c| c.is_ascii_uppercase() || c.is_ascii_digit()),
            Self::Code => is_of(value, 48, |c| c.is_ascii_alphabetic() || c == '_'),
            Self::Reason => is_reason(value),
            Self::Library => {
                value.contains(".so") && is_of(value, 64, |c| c.is_ascii_alphanumeric() || "._+-".contains(c))
            }
        };
        is_shown.then(|| value.to_owned())
    }
}

fn is_of(value: &str, most: usize, allowed: impl Fn(char) -> bool) -> bool {
    (1..=most).contains(&value.len()) && value.chars().all(allowed)
}

fn is_option(name: &str) -> bool {
    let name = name.strip_prefix("--").unwrap_or(name);
    let bare = ["no-", "reset-"].into_iter().find_map(|start| name.strip_prefix(start));
    options::find(name).is_some() || bare.is_some_and(|bare| options::find(bare).is_some())
}

fn is_choice(word: &str) -> bool {
    options::is_choice(word) || matches!(word, "true" | "false" | "backup" | "archive" | "restore")
}

fn is_command(name: &str) -> bool {
    const COMMANDS: [&str; 21] = [
        "annotate",
        "archive-get",
        "archive-push",
        "backup",
        "check",
        "expire",
        "help",
        "info",
        "manifest",
        "repo-create",
        "repo-get",
        "repo-ls",
        "repo-put",
        "repo-rm",
        "restore",
        "server",
        "server-ping",
        "stanza-create",
        "stanza-delete",
        "stanza-upgrade",
        "verify",
    ];
    let (command, role) = name.split_once(':').unwrap_or((name, "main"));
    let is_named = COMMANDS.contains(&command) || matches!(command, "start" | "stop" | "version");
    is_named && matches!(role, "main" | "async" | "local" | "remote")
}

fn is_process(word: &str) -> bool {
    let number = ["remote-", "local-"].into_iter().find_map(|start| word.strip_prefix(start));
    matches!(word, "remote" | "local" | "tls" | "ssh" | "shim" | "protocol" | "process" | "on")
        || number.is_some_and(|number| is_of(number, 5, |c| c.is_ascii_digit()))
}

fn is_number(value: &str) -> bool {
    let value = value.strip_prefix('-').unwrap_or(value);
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '%');
    value.len() - digits.len() <= 3
        && is_of(digits, 24, |c| c.is_ascii_digit() || c == '.')
        && digits.starts_with(|c: char| c.is_ascii_digit())
}

/// A host may have a port and an address: `localhost:8453 (127.0.0.1)`. One with a user or a password is rejected.
fn is_host(value: &str) -> bool {
    let (host, address) = match value.split_once(" (") {
        Some((host, rest)) => (host, rest.strip_suffix(')')),
        None => (value, Some("::1")),
    };
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
    if !address.is_some_and(is_address) {
        return false;
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !is_address(host) => (name, port),
        _ => (host, "0"),
    };
    let is_label = |label: &str| {
        is_of(label, 63, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
            && !label.starts_with('-')
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    port.parse::<u16>().is_ok() && (is_address(bare) || name.len() <= 253 && name.split('.').all(is_label))
}

/// Messages of libraries consist of plain words. Only a few names contain digits.
pub(super) fn is_reason(value: &str) -> bool {
    const NAMES: [&str; 8] = ["tlsv1", "sslv3", "x509", "ipv4", "ipv6", "libssh2", "1.2", "1.3"];
    const MOST_WORDS: usize = 20;
    let is_word = |word: &str| {
        let word = word.trim_matches([',', '.', ';', ':', '(', ')', '?', '!']);
        NAMES.contains(&word.to_ascii_lowercase().as_str())
            || word.is_empty()
            || is_of(word, 24, |c| c.is_ascii_alphabetic() || "-_'/".contains(c))
    };
    !value.is_empty() && value.split(' ').count() <= MOST_WORDS && value.split(' ').all(is_word)
}

fn http(value: &str) -> Option<String> {
    let (code, reason) = value.split_once(' ').unwrap_or((value, ""));
    if code.len() != 3 || !is_number(code) {
        return None;
    }
    let reported = reason.strip_prefix('(').and_then(|reason| reason.strip_suffix(')'));
    Some(match reported {
        _ if reason.is_empty() => code.to_owned(),
        Some(reported) if is_reason(reported) => format!("{code} ({reported})"),
        _ => format!("{code} ({HIDDEN})"),
    })
}

/// The options of `--stanza=demo --repo1-path="/a b"`: each with its value if that is harmless.
fn command_line(value: &str) -> String {
    let value = format!(" {value}");
    let mut shown: Vec<String> = Vec::new();
    for given in value.split(" --").skip(1) {
        let (name, value) = given.split_once('=').map_or((given, None), |(name, value)| (name, Some(value)));
        if !is_option(name) {
            if shown.last().is_none_or(|last| last != HIDDEN) {
                shown.push(HIDDEN.to_owned());
            }
            continue;
        }
        shown.push(match value {
            None => format!("--{name}"),
            Some(value) => {
                let is_shown =
                    options::is_harmless(value) || name == "stanza" && Slot::Stanza.shown(value).is_some();
                format!("--{name}={}", if is_shown { value } else { HIDDEN })
            }
        });
    }
    shown.join(" ")
}
