//! Reads what `/metrics` serves, in either text format.

use std::collections::{BTreeMap, BTreeSet};

/// One line that is no comment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// All samples of a scrape.
#[derive(Debug)]
pub(crate) struct Samples(Vec<Sample>);

impl Samples {
    /// # Panics
    /// At the first line that is no comment and no sample.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(lines.map(|line| sample(line).unwrap_or_else(|| panic!("no sample: {line}"))).collect())
    }

    pub(crate) fn into_all(self) -> Vec<Sample> {
        self.0
    }

    /// All names, ascending.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.0.iter().map(|sample| &*sample.name).collect()
    }

    /// Series that are there more than once.
    pub(crate) fn twice(&self) -> Vec<&Sample> {
        let mut seen = BTreeSet::new();
        self.0.iter().filter(|sample| !seen.insert((&sample.name, &sample.labels))).collect()
    }

    /// All samples of a name that carry these labels, and maybe more.
    pub(crate) fn all(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        let has =
            |sample: &Sample, key: &str, value: &str| sample.labels.get(key).is_some_and(|has| has == value);
        self.0
            .iter()
            .filter(|sample| sample.name == name)
            .filter(|sample| labels.iter().all(|(key, value)| has(sample, key, value)))
            .collect()
    }

    /// The one value of a name with these labels.
    pub(crate) fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        match self.all(name, labels).as_slice() {
            [] => None,
            [one] => Some(one.value),
            several => panic!("several {name}{labels:?}: {several:?}"),
        }
    }

    /// Compares the one value of a name with these labels.
    ///
    /// # Panics
    /// Where it is another, or there is none.
    pub(crate) fn assert(&self, name: &str, labels: &[(&str, &str)], expected: f64) {
        let value = self.value(name, labels);
        assert!(value == expected, "{name}{labels:?} is {value}, not {expected}");
    }

    /// The one value of a name with these labels.
    ///
    /// # Panics
    /// Where there is none, with everything of that name.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels)
            .unwrap_or_else(|| panic!("no {name}{labels:?} among {:?}", self.all(name, &[])))
    }
}

/// `name{key="value",...} number` with whatever follows the number left aside.
fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (key, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.insert(key.to_owned(), value);
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// The text up to the closing quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[test]
fn samples_are_read_with_their_labels() {
    let samples = Samples::parse(
        "# HELP a b\na{x=\"1,}\",y=\"q\\\"\\n\"} 2.5 # {t=\"1\"} 1\nb NaN\nc +Inf 1700\n# EOF\n",
    );
    assert_eq!(samples.value("a", &[("x", "1,}"), ("y", "q\"\n")]).to_string(), "2.5");
    assert!(samples.value("b", &[]).is_nan());
    assert_eq!(samples.find("c", &[]).map(f64::is_infinite), Some(true));
    assert_eq!(samples.find("a", &[("x", "2")]), None);
}
