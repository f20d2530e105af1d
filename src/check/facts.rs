//! The series of `/metrics`, read line by line as they arrive, and where each belongs.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, LazyLock};

use thiserror::Error;

use crate::memory::Bounds;
use crate::metrics::catalogue::backups::{BACKUPS, REPO_ERROR_INFO, REPO_STATE, REPO_UP};
use crate::metrics::catalogue::exporter::COLLECTOR_UP;
use crate::metrics::catalogue::{self, Metric};
use crate::state::filter::{Filter, UNLISTED};
use crate::state::human;
use crate::text::{self, SharedTexts};

/// Bytes of a line; what a longer one says is unknown.
const LONGEST_LINE: usize = 64 * 1024;
/// Characters of a name in a message.
const LONGEST_NAME: usize = 60;

/// What a series is about. Empty and absent parts are unknown, or do not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// In Kubernetes.
    pub namespace: Arc<str>,
    /// In Kubernetes.
    pub cluster: Arc<str>,
    pub stanza: Arc<str>,
    pub repo: Option<u32>,
}

/// A value and the labels that are not those of its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    labels: Box<[(Arc<str>, Box<str>)]>,
    pub value: f64,
}

/// The stanzas, repositories and clusters to judge.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    pub filter: Filter,
    /// Namespace, if it matters, and name; all if there is none.
    pub clusters: Vec<(Option<String>, String)>,
}

/// Everything that is known.
#[derive(Debug)]
pub struct Facts {
    /// The metrics that are kept.
    kept: &'static MetricsByName,
    series: HashMap<&'static str, BTreeMap<Place, Vec<Series>>>,
    selection: Selection,
    /// Why there is no answer about a place: more than series can tell.
    causes: BTreeMap<Place, String>,
    /// How many series were too long to be read.
    too_long: BTreeMap<Place, usize>,
}

/// Metrics by name.
pub type MetricsByName = HashMap<&'static str, &'static Metric>;

/// Metrics by name.
#[must_use]
pub fn by_name(metrics: impl Iterator<Item = &'static Metric>) -> MetricsByName {
    metrics.map(|metric| (metric.name, metric)).collect()
}

/// Reads series as they arrive.
#[derive(Debug)]
pub struct Reader {
    facts: Facts,
    /// The start of a line whose end has not arrived.
    line: Vec<u8>,
    count: u64,
    /// There was a series of the catalogue, kept or not.
    is_ours: bool,
    is_complete: bool,
    /// Names of places and labels.
    names: SharedTexts,
}

/// A text that facts cannot be taken from.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FactsError {
    #[error("more than {0} series; query fewer stanzas, or raise the memory limit")]
    TooMany(u64),
    #[error("the response ends early")]
    Incomplete,
    #[error("the response contains no metrics of pgbackrest-keeper")]
    Foreign,
}

/// The metrics of the catalogue.
static ALL: LazyLock<MetricsByName> = LazyLock::new(|| by_name(catalogue::all()));

impl Reader {
    /// Keeps the series of these metrics.
    #[must_use]
    pub fn new(kept: &'static MetricsByName) -> Self {
        Self {
            facts: Facts {
                kept,
                series: HashMap::new(),
                selection: Selection::default(),
                causes: BTreeMap::new(),
                too_long: BTreeMap::new(),
            },
            line: Vec::new(),
            count: 0,
            is_ours: false,
            is_complete: false,
            names: SharedTexts::default(),
        }
    }

    /// Takes the next piece of the text.
    pub fn feed(&mut self, mut piece: &[u8]) -> Result<(), FactsError> {
        while let Some(end) = memchr::memchr(b'\n', piece) {
            let (rest_of_line, after) = piece.split_at(end);
            if self.line.is_empty() {
                self.take(rest_of_line)?;
            } else {
                let mut line = std::mem::take(&mut self.line);
                extend(&mut line, rest_of_line);
                self.take(&line)?;
            }
            piece = after.get(1..).unwrap_or_default();
        }
        extend(&mut self.line, piece);
        Ok(())
    }

    /// All facts, if the text was complete: in OpenMetrics, with its last line.
    pub fn end(self, is_openmetrics: bool) -> Result<Facts, FactsError> {
        if is_openmetrics && !self.is_complete || !self.line.is_empty() {
            return Err(if self.is_ours { FactsError::Incomplete } else { FactsError::Foreign });
        }
        if self.is_ours { Ok(self.facts) } else { Err(FactsError::Foreign) }
    }

    fn take(&mut self, line: &[u8]) -> Result<(), FactsError> {
        if let Some(line) = line.get(..=LONGEST_LINE) {
            let Some(place) = place_of_part(&String::from_utf8_lossy(line), self.facts.kept) else {
                return Ok(());
            };
            self.count_one()?;
            *self.facts.too_long.entry(place).or_default() += 1;
            return Ok(());
        }
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end_matches('\r');
        if line == "# EOF" {
            self.is_complete = true;
        }
        let Some((metric, place, series)) = parse(line, self.facts.kept, &mut self.names) else {
            self.is_ours = self.is_ours || parse(line, &ALL, &mut self.names).is_some();
            return Ok(());
        };
        self.count_one()?;
        self.facts.add(metric, place, series);
        Ok(())
    }

    fn count_one(&mut self) -> Result<(), FactsError> {
        (self.count, self.is_ours) = (self.count + 1, true);
        let most = Bounds::of_process().series();
        if self.count > most { Err(FactsError::TooMany(most)) } else { Ok(()) }
    }
}

/// Keeps one byte more than a line can have, so that it is known to be too long.
fn extend(line: &mut Vec<u8>, piece: &[u8]) {
    let room = (LONGEST_LINE + 1).saturating_sub(line.len());
    line.extend_from_slice(piece.get(..room).unwrap_or(piece));
}

/// Where the start of a line belongs, if it is one of a series that is kept. The name of a stanza may be cut off.
fn place_of_part(line: &str, kept: &MetricsByName) -> Option<Place> {
    let (name, mut rest) = line.split_once('{')?;
    kept.get(name)?;
    let mut place = Place::default();
    while let Some((key, after)) = rest.split_once("=\"") {
        let whole = unquoted(after);
        match (key.trim_start(), &whole) {
            ("namespace", Some((value, _))) => place.namespace = (**value).into(),
            ("pg_cluster", Some((value, _))) => place.cluster = (**value).into(),
            ("stanza", Some((value, _))) => place.stanza = shortened(value),
            ("stanza", None) => place.stanza = shortened(after),
            _ => {}
        }
        let Some((_, after)) = whole else { break };
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    Some(place)
}

fn shortened(name: &str) -> Arc<str> {
    match name.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("{}…", name.get(..end).unwrap_or_default()).into(),
        None => name.into(),
    }
}

/// A series of one of these metrics; none if it is another one, no series, or no number.
fn parse(
    line: &str,
    metrics: &MetricsByName,
    names: &mut SharedTexts,
) -> Option<(&'static Metric, Place, Series)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let metric = metrics.get(name)?;
    let (mut place, mut texts, mut labels) = (Place::default(), [const { None }; 3], Vec::new());
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (key, after) = rest.split_once("=\"")?;
            let (value, after) = unquoted(after)?;
            match key.trim_start() {
                "namespace" => texts[0] = Some(value),
                "pg_cluster" => texts[1] = Some(value),
                "stanza" => texts[2] = Some(value),
                "repo_key" => place.repo = Some(value.parse().ok()?),
                key => labels.push((key, value)),
            }
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = rest.strip_prefix('}')?;
    }
    let value: f64 = rest.split_whitespace().next()?.parse().ok()?;
    // What is not a number is unknown, and nothing is kept of it.
    if !value.is_finite() {
        return None;
    }
    let [namespace, cluster, stanza] = texts.map(|text| names.shared(&text.unwrap_or_default()));
    (place.namespace, place.cluster, place.stanza) = (namespace, cluster, stanza);
    let labels = labels.into_iter().map(|(key, value)| (names.shared(key), value.into())).collect();
    Some((*metric, place, Series { labels, value }))
}

/// The value up to its closing quote, and what follows.
fn unquoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = text.find(['"', '\\'])?;
    let (plain, rest) = text.split_at(end);
    if let Some(after) = rest.strip_prefix('"') {
        return Some((Cow::Borrowed(plain), after));
    }
    let mut value = plain.to_owned();
    let mut characters = rest.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((Cow::Owned(value), rest.get(at + 1..)?)),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

impl Facts {
    /// Judges only these from now on.
    pub fn select(&mut self, selection: Selection) {
        self.selection = selection;
    }

    /// Remembers why a place is not known.
    pub fn explain(&mut self, place: Place, cause: String) {
        self.causes.insert(place, cause);
    }

    fn add(&mut self, metric: &'static Metric, place: Place, series: Series) {
        let all = self.series.entry(metric.name).or_default().entry(place).or_default();
        // Most often there is only one.
        all.reserve_exact(1);
        all.push(series);
    }

    /// All selected series of a metric, by place.
    pub(super) fn of(&self, metric: &Metric) -> impl Iterator<Item = (&Place, &Series)> {
        let places = self.places(metric).into_iter().flatten();
        let selected = places.filter(|(place, _)| self.selection.admits(place));
        selected.flat_map(|(place, all)| all.iter().map(move |series| (place, series)))
    }

    /// All series of a metric at a place.
    pub(super) fn at(&self, metric: &Metric, place: &Place) -> &[Series] {
        self.places(metric).and_then(|places| places.get(place)).map_or(&[], Vec::as_slice)
    }

    /// The value of a metric that has one series at each place.
    pub(super) fn value(&self, metric: &Metric, place: &Place) -> Option<f64> {
        self.at(metric, place).first().map(|series| series.value)
    }

    /// Whether there is a series, selected or not.
    pub(super) fn has(&self, metric: &Metric) -> bool {
        self.places(metric).is_some_and(|places| !places.is_empty())
    }

    fn places(&self, metric: &Metric) -> Option<&BTreeMap<Place, Vec<Series>>> {
        debug_assert!(self.kept.contains_key(metric.name), "{} is not kept", metric.name);
        self.series.get(metric.name)
    }

    /// The selected repositories of all stanzas.
    pub(super) fn repos(&self) -> BTreeSet<&Place> {
        let metrics: [&Metric; 2] = [&REPO_UP, &BACKUPS];
        metrics.into_iter().flat_map(|metric| self.of(metric)).map(|(place, _)| place).collect()
    }

    /// Stanzas that were asked for by name and are not known.
    pub(super) fn missing_stanzas(&self) -> Vec<Arc<str>> {
        let known: BTreeSet<&str> = self.repos().into_iter().map(|place| &*place.stanza).collect();
        let included =
            self.selection.filter.included().filter(|name| self.selection.filter.admits_stanza(name));
        included.filter(|name| !known.contains(&***name)).cloned().collect()
    }

    /// Clusters that were asked for, and about which nothing was collected, nor failed to be.
    pub(super) fn missing_clusters(&self) -> Vec<Place> {
        let mut known = self.repos();
        known.extend(self.of(&COLLECTOR_UP).map(|(place, _)| place));
        let is_missing = |asked: &&(Option<String>, String)| !known.iter().any(|place| is_in(asked, place));
        let missing = self.selection.clusters.iter().filter(is_missing);
        missing
            .map(|(namespace, name)| Place {
                namespace: namespace.as_deref().unwrap_or_default().into(),
                cluster: name.as_str().into(),
                ..Place::default()
            })
            .collect()
    }

    /// Repositories that were asked for and that no stanza has. Old versions of pgBackRest have one without a number.
    pub(super) fn missing_repos(&self) -> Vec<u32> {
        let known: BTreeSet<u32> = self.repos().into_iter().filter_map(|place| place.repo).collect();
        let asked = self.selection.filter.repos().iter().copied();
        asked.filter(|repo| !known.is_empty() && !known.contains(repo) && !known.contains(&0)).collect()
    }

    /// Why a repository cannot be read now; none if it can, or if it says itself that it holds no backup.
    pub(super) fn unreadable(&self, repo: &Place) -> Option<String> {
        let state = self.at(&REPO_STATE, repo).iter().find(|series| series.is_true());
        let state = state.map_or("", |series| series.label("state"));
        match self.at(&REPO_UP, repo).first() {
            Some(up) if up.is_true() => return None,
            Some(_)
                if ["missing_stanza_path", "no_valid_backups", "missing_stanza_data"].contains(&state) =>
            {
                return None;
            }
            Some(_) => {}
            None => return Some("it is not known whether it can be read".to_owned()),
        }
        Some(self.reason(repo))
    }

    /// What is known about why a repository is down.
    pub(super) fn reason(&self, repo: &Place) -> String {
        if let Some(cause) = self.causes.get(repo) {
            return cause.clone();
        }
        if let Some(error) = self.at(&REPO_ERROR_INFO, repo).first() {
            return clean(error.label("error"), LONGEST_NAME);
        }
        let state = self.at(&REPO_STATE, repo).iter().find(|series| series.is_true());
        let state = state.map_or("", |series| series.label("state"));
        if state == "timeout" {
            "no response".to_owned()
        } else {
            clean(state, LONGEST_NAME).replace('_', " ")
        }
    }

    /// Selected places, and how many series there were too long to be read.
    pub(super) fn too_long(&self) -> impl Iterator<Item = (&Place, usize)> {
        let places = self.too_long.iter().filter(|(place, _)| self.selection.admits(place));
        places.map(|(place, count)| (place, *count))
    }

    /// Why the collection of a place failed, if that is known.
    pub(super) fn cause(&self, place: &Place) -> Option<&str> {
        self.causes.get(place).map(String::as_str)
    }
}

impl Selection {
    /// Whether a place is selected.
    #[must_use]
    pub fn admits(&self, place: &Place) -> bool {
        (self.clusters.is_empty() || self.clusters.iter().any(|cluster| is_in(cluster, place)))
            && (is_of_all(&place.stanza) || self.filter.admits_stanza(&place.stanza))
            && place.repo.is_none_or(|repo| self.filter.admits_repo(repo))
    }
}

/// Whether a place is in a cluster, given by its namespace, if it matters, and its name.
fn is_in((namespace, name): &(Option<String>, String), place: &Place) -> bool {
    **name == *place.cluster && namespace.as_ref().is_none_or(|namespace| **namespace == *place.namespace)
}

/// Not about one stanza: about a call for all of them, or about none.
fn is_of_all(stanza: &str) -> bool {
    ["", "all-stanzas", "all-stanzas-except-excluded"].contains(&stanza)
}

impl Series {
    /// Of a series that says yes or no.
    pub(super) fn is_true(&self) -> bool {
        self.value != 0.0
    }

    /// Empty if there is no such label.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(key, _)| **key == *name).map_or("", |(_, value)| value)
    }
}

impl Place {
    /// A stanza on this host.
    #[must_use]
    pub fn stanza(name: &str) -> Self {
        Self { stanza: name.into(), ..Self::default() }
    }

    /// Whether it is about a call for all stanzas, about stanzas that cannot be listed, or about none.
    #[must_use]
    pub fn is_of_all_stanzas(&self) -> bool {
        is_of_all(&self.stanza) || *self.stanza == *UNLISTED
    }

    /// Whether what is said about all stanzas here is said about those there.
    #[must_use]
    pub fn concerns(&self, other: &Self) -> bool {
        let Self { namespace, cluster, .. } = self;
        self.is_of_all_stanzas()
            && (cluster.is_empty() || (namespace, cluster) == (&other.namespace, &other.cluster))
    }

    /// The stanza that a repository belongs to.
    #[must_use]
    pub fn of_stanza(&self) -> Self {
        Self { repo: None, ..self.clone() }
    }

    /// The labels of performance data: `shop/ledger/db/repo1`.
    #[must_use]
    pub fn path(&self) -> String {
        let repo = self.repo.map(human::repo_name).unwrap_or_default();
        let names = [&*self.namespace, &*self.cluster, &*self.stanza, &*repo];
        let parts = names.iter().filter(|part| !part.is_empty());
        parts.map(|part| clean(part, LONGEST_NAME)).collect::<Vec<_>>().join("/")
    }
}

/// For people: `shop/ledger/db repo1`.
impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stanza = if *self.stanza == *UNLISTED { human::UNLISTED_TITLE } else { &self.stanza };
        let names = [&*self.namespace, &*self.cluster, stanza];
        let names = names.iter().filter(|part| !part.is_empty());
        let names = names.map(|part| clean(part, LONGEST_NAME)).collect::<Vec<_>>().join("/");
        formatter.write_str(&names)?;
        match self.repo {
            Some(repo) if names.is_empty() => formatter.write_str(&human::repo_name(repo)),
            Some(repo) => write!(formatter, " {}", human::repo_name(repo)),
            None => Ok(()),
        }
    }
}

/// Text from outside on one line, without what has a meaning in the output of a plugin.
#[must_use]
pub fn clean(text: &str, most: usize) -> String {
    text::escaped(text, most).replace('|', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&str], is_openmetrics: bool) -> Result<Facts, FactsError> {
        let mut reader = Reader::new(&ALL);
        for piece in pieces {
            reader.feed(piece.as_bytes())?;
        }
        reader.end(is_openmetrics)
    }

    const UP: &str = "pgbackrest_repo_up{repo_key=\"1\",stanza=\"demo\"} 1\n";

    #[test]
    fn series_are_read_however_the_text_is_cut() {
        let text = format!(
            "# HELP x y\n{UP}pgbackrest_repo_up{{namespace=\"shop\",pg_cluster=\"a\",repo_key=\"2\",stanza=\"d\\\"b\"}} 0.0\n\
             pgbackrest_backup_info{{backup_name=\"x\"}} 1\nother 1\n# EOF\n"
        );
        for at in 0..=text.len() {
            let (first, second) = text.split_at(at);
            let facts = read(&[first, second], true).unwrap();
            let all: Vec<_> =
                facts.of(&REPO_UP).map(|(place, series)| (place.path(), series.value)).collect();
            assert_eq!(all, [("demo/repo1".to_owned(), 1.0), ("shop/a/d\"b/repo2".to_owned(), 0.0)]);
        }
    }

    #[test]
    fn a_text_that_is_cut_off_is_no_answer() {
        assert_eq!(read(&[UP], true).unwrap_err(), FactsError::Incomplete);
        assert_eq!(read(&[UP, "pgbackrest_repo_up{re"], false).unwrap_err(), FactsError::Incomplete);
        assert!(read(&[UP], false).is_ok());
    }

    #[test]
    fn what_others_serve_is_no_answer() {
        for text in ["", "<html>\n", "node_load1 1\n# EOF\n", "# EOF\n"] {
            assert_eq!(read(&[text], true).unwrap_err(), FactsError::Foreign, "{text}");
        }
        let long = "a".repeat(LONGEST_LINE + 1);
        assert_eq!(read(&[&long, "\n", &long, "{\n# EOF\n"], true).unwrap_err(), FactsError::Foreign);
    }

    #[test]
    fn a_line_that_is_too_long_makes_only_its_own_series_unknown() {
        let name = "ä".repeat(35_000);
        let in_shop = "pgbackrest_repo_up{namespace=\"shop\",pg_cluster=\"a\",";
        let text = format!(
            "{}{UP}{in_shop}repo_key=\"1\",stanza=\"{name}\"}} 1\n{in_shop}x=\"{name}\"}} 1\nother{{x=\"{name}\"}} 1\n",
            UP.replace("demo", &name)
        );
        for at in [0, 10, 200, 70_000, 70_100, 140_000, text.len()] {
            let at = text.floor_char_boundary(at);
            let facts = read(&[&text[..at], &text[at..]], false).unwrap();
            assert_eq!(facts.repos().into_iter().map(Place::path).collect::<Vec<_>>(), ["demo/repo1"]);
            let cut = format!("{}…", "ä".repeat(60));
            let too_long: Vec<_> =
                facts.too_long().map(|(place, count)| (&*place.cluster, &*place.stanza, count)).collect();
            assert_eq!(too_long, [("", &*cut, 1), ("a", "", 1), ("a", &*cut, 1)], "{at}");
        }
    }

    #[test]
    fn what_is_no_number_is_unknown() {
        let text = UP.replace("} 1", "} NaN") + "pgbackrest_repo_up{repo_key=\"x\",stanza=\"demo\"} 1\n";
        assert_eq!(read(&[&text], false).unwrap_err(), FactsError::Foreign);
    }

    #[test]
    fn only_selected_places_are_judged() {
        let text = format!("{UP}{}{}", UP.replace("demo", "other"), UP.replace("\"1\"", "\"2\""));
        let mut facts = read(&[&text], false).unwrap();
        let filter = Filter::new(&["demo".to_owned(), "gone".to_owned()], &[], None, None, &[1]).unwrap();
        facts.select(Selection { filter, clusters: Vec::new() });
        let repos: Vec<String> = facts.repos().into_iter().map(ToString::to_string).collect();
        assert_eq!(repos, ["demo repo1"]);
        assert_eq!(facts.missing_stanzas(), [Arc::from("gone")]);
        facts.select(Selection { filter: Filter::default(), clusters: vec![(None, "a".to_owned())] });
        assert!(facts.repos().is_empty());
    }

    #[test]
    fn what_was_asked_for_and_is_not_known_is_named() {
        let (in_shop, of_collector) = (
            UP.replace('{', "{namespace=\"shop\",pg_cluster=\"a\","),
            "pgbackrest_collector_up{collector=\"info\",namespace=\"shop\",pg_cluster=\"b\",stanza=\"db\"} 0\n",
        );
        let mut facts = read(&[&in_shop, of_collector], false).unwrap();
        let asked = [(Some("shop"), "a"), (None, "b"), (Some("bank"), "a"), (None, "c")];
        let clusters = asked.map(|(namespace, name)| (namespace.map(str::to_owned), name.to_owned()));
        let filter = Filter::new(&[], &[], None, None, &[1, 3]).unwrap();
        facts.select(Selection { filter, clusters: clusters.to_vec() });
        let missing: Vec<String> = facts.missing_clusters().iter().map(ToString::to_string).collect();
        assert_eq!(missing, ["bank/a", "c"]);
        assert_eq!(facts.missing_repos(), [3]);
    }
}
