//! The known wordings, and matching messages with them.

use std::sync::LazyLock;

use super::HIDDEN;
use super::slot::Slot;

/// One message per line. `{name}` is a [`Slot`]; `{}` is never shown.
const MESSAGES: &str = include_str!("messages.txt");

static TEMPLATES: LazyLock<Vec<Template>> = LazyLock::new(|| MESSAGES.lines().map(Template::parse).collect());

/// A wording: fixed text with variable parts.
#[derive(Debug)]
struct Template {
    start: &'static str,
    /// The variable parts, each with the text after it.
    rest: Vec<(Slot, &'static str)>,
    /// Number of characters of its fixed text.
    length: usize,
}

impl Template {
    fn parse(line: &'static str) -> Self {
        let mut parts = line.split('{');
        let start = parts.next().unwrap_or_default();
        let rest: Vec<_> = parts
            .map(|part| {
                part.split_once('}').map_or((Slot::Hidden, part), |(name, text)| (Slot::of(name), text))
            })
            .collect();
        let length = start.len() + rest.iter().map(|(_, text)| text.len()).sum::<usize>();
        Self { start, rest, length }
    }

    /// The values of the slots, if the message has this wording.
    fn matched<'a>(&self, message: &'a str) -> Option<Vec<&'a str>> {
        let mut left = message.strip_prefix(self.start)?;
        let mut found = Vec::with_capacity(self.rest.len());
        for (place, (slot, text)) in self.rest.iter().enumerate() {
            let is_last = place + 1 == self.rest.len();
            let (value, after) =
                if is_last { (left.strip_suffix(text)?, "") } else { left.split_once(text)? };
            // Classes are words of pgBackRest, so anything else is another message.
            if *slot == Slot::Class && slot.shown(value).is_none() {
                return None;
            }
            found.push(value);
            left = after;
        }
        left.is_empty().then_some(found)
    }

    /// Whether it starts with fixed text. Otherwise it would also match the lines before it.
    fn begins(&self, values: &[&str]) -> bool {
        let is_told = |(slot, value): (Slot, &str)| slot.shown(value).as_deref() == Some(value);
        let first = self.rest.first().map(|(slot, _)| *slot).zip(values.first().copied());
        !self.start.is_empty() || first.is_some_and(is_told)
    }

    fn render(&self, values: &[&str]) -> String {
        let mut shown = self.start.to_owned();
        for ((slot, text), value) in self.rest.iter().zip(values) {
            shown.push_str(slot.shown(value).as_deref().unwrap_or(HIDDEN));
            shown.push_str(text);
        }
        shown
    }
}

/// The message with the wording that matches most of it.
pub(super) fn shown(message: &str) -> Option<String> {
    let has_lines = message.contains('\n');
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let fitting = TEMPLATES.iter().filter_map(|template| Some((template, template.matched(&message)?)));
    let fitting = fitting.filter(|(template, values)| !has_lines || template.begins(values));
    let (best, values) = fitting.max_by_key(|(template, _)| template.length)?;
    Some(best.render(&values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wording_is_its_own_and_says_something() {
        for (template, line) in TEMPLATES.iter().zip(MESSAGES.lines()) {
            assert!(template.length >= 2, "{line}");
            let unknown = template.rest.iter().any(|(slot, _)| *slot == Slot::Hidden)
                && line.matches("{}").count()
                    != template.rest.iter().filter(|(slot, _)| *slot == Slot::Hidden).count();
            assert!(!unknown, "{line} has an unknown slot");
            // Without text between two slots, the end of the first is unknown.
            let ends: Vec<_> = template.rest.iter().rev().skip(1).map(|(_, text)| *text).collect();
            assert!(!ends.contains(&""), "{line}");
        }
        let mut lines: Vec<&str> = MESSAGES.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), TEMPLATES.len());
    }
}
