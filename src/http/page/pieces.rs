//! Small parts shared by the sections of the page: badges, times, anchors.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::state::health::Health;
use crate::state::human;

use super::STYLE;

/// A whole page with its inline style and no external resources.
pub(super) fn document(headline: &str, title: &str, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (headline) " · " (human::line(title, 120)) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    }
    .into_string()
}

/// The last line of every page.
pub(super) fn last_line(version: &str, metrics_path: &str) -> Markup {
    html! {
        p {
            "pgbackrest-keeper " (version) " · " a href=(metrics_path) { "metrics" }
            " · reload the page to update"
        }
    }
}

/// The note on pages with recovery windows.
pub(super) fn provenance() -> Markup {
    html! {
        p {
            strong { "Proven" } " recovery windows come from a scan of the repository: no WAL segment and no backup directory is \
            missing. Windows that are " strong { "not verified" } " come from " code { "pgbackrest info" }
            " alone, which detects neither. Neither kind checks the contents of files; only a restore reads them."
        }
    }
}

/// A word with its symbol; the colour is redundant.
pub(super) fn badge(health: Health, word: &str) -> Markup {
    html! { span class=(class("badge", health)) { (symbol(Some(health))) " " (word) } }
}

/// The symbol of a health state, hidden from screen readers because it always accompanies a word.
pub(super) fn symbol(health: Option<Health>) -> Markup {
    let (glyph, name) = match health {
        Some(Health::Ok) => ("✓", "ok"),
        Some(Health::Warning) => ("▲", "warning"),
        Some(Health::Failed) => ("✕", "failed"),
        None => ("…", "pending"),
    };
    html! { span class={ "symbol " (name) } aria-hidden="true" { (glyph) } }
}

/// `base` and the class of a health.
pub(super) fn class(base: &str, health: Health) -> String {
    format!("{base} {health}")
}

/// An age, with the exact time on hover and for machines.
pub(super) fn age(at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    html! { time datetime=(human::rfc3339(at)) title=(human::instant(at)) { (human::age(at, now)) } }
}

/// An exact time that can only wrap between date and time.
pub(super) fn instant(at: DateTime<Utc>) -> Markup {
    html! {
        time datetime=(human::rfc3339(at)) {
            span.keep { (at.format("%Y-%m-%d")) } " " span.keep { (at.format("%H:%M:%S")) " UTC" }
        }
    }
}

/// The id of a stanza's section: special bytes are written in hexadecimal, so that every name is a valid id.
pub(super) fn anchor(name: &str) -> String {
    escape("stanza-", name, '_')
}

/// The address of the page of one stanza.
pub(super) fn address(name: &str) -> String {
    escape("?stanza=", name, '%')
}

/// The address of the page of one cluster.
pub(super) fn address_of_cluster(namespace: &str, name: &str) -> String {
    escape("?cluster=", &format!("{namespace}/{name}"), '%')
}

fn escape(prefix: &str, name: &str, mark: char) -> String {
    let mut escaped = prefix.to_owned();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.' {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "{mark}{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_apart_as_ids_and_addresses() {
        assert_eq!(anchor("main-1"), "stanza-main-1");
        assert_eq!(anchor("a b"), "stanza-a_20b");
        assert_ne!(anchor("a b"), anchor("a_20b"));
        assert_eq!(address("a&b=\"ä"), "?stanza=a%26b%3D%22%C3%A4");
    }
}
