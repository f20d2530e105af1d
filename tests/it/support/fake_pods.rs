//! Pods in which tests define the results of commands, with a record of the requests: the only fake for the traits that find pods and
//! run commands in them. Unit tests use it, too.
//!
//! The network protocol is below these traits: `kubernetes::exec` has a peer for it, `fake_api` responds to calls.

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pgbackrest_keeper::cluster::labels::{Labels, cluster_selector};
use pgbackrest_keeper::cluster::settings::Settings;
use pgbackrest_keeper::cluster::target::Pod;
use pgbackrest_keeper::job::access::Access;
use pgbackrest_keeper::kubernetes::client::{CallError, CallFailure};
use pgbackrest_keeper::kubernetes::exec::Heard;
use pgbackrest_keeper::source::pod::{NoEnd, Place, Ran, RunInPod};
use pgbackrest_keeper::source::pods::FindPods;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// What becomes of a command.
#[derive(Clone)]
pub(crate) enum Does {
    /// It ends, or is known to have no end.
    End(Result<Ran, NoEnd>),
    /// The same after a time.
    EndAfter(Duration, NoEnd),
    /// It never ends.
    Hang,
    /// It runs on this host.
    RunHere(Arc<Mutex<Command>>),
}

impl From<Ran> for Does {
    fn from(ran: Ran) -> Self {
        Self::End(Ok(ran))
    }
}

/// An exit code, and nothing was printed.
impl From<Result<i32, NoEnd>> for Does {
    fn from(end: Result<i32, NoEnd>) -> Self {
        Self::End(end.map(|code| ran(code, "")))
    }
}

impl From<std::process::Command> for Does {
    fn from(command: std::process::Command) -> Self {
        Self::RunHere(Arc::new(Mutex::new(command.into())))
    }
}

pub(crate) fn ran(code: i32, stdout: impl Into<String>) -> Ran {
    Ran { code, stdout: stdout.into().into_bytes().into(), stderr: String::new() }
}

/// A pod that is ready.
pub(crate) fn pod(name: &str, containers: &[&str]) -> Pod {
    let containers = containers.iter().map(|&name| name.to_owned()).collect();
    Pod { name: name.to_owned(), running: true, ready: true, containers, ..Pod::default() }
}

/// The labels of a primary.
pub(crate) fn primary_labels(cluster: &str, settings: &Settings) -> Labels {
    let mut labels = cluster_selector(cluster, settings);
    labels.insert(settings.role_label.clone(), "master".to_owned());
    labels
}

/// A command that came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// `pod/container`.
    pub(crate) place: String,
    pub(crate) command: Vec<String>,
    pub(crate) timeout: Duration,
}

impl Asked {
    /// Such as `orders-0/postgres: pgbackrest version`.
    pub(crate) fn text(&self) -> String {
        format!("{}: {}", self.place, self.command.join(" "))
    }
}

/// The answers to each look for pods, in turn.
type Found = VecDeque<Result<Vec<Pod>, CallFailure>>;
/// What commands do whose text fits, in turn.
type Rules = Vec<(String, VecDeque<Does>)>;
type Otherwise<'a> = dyn Fn(&Asked) -> Does + Send + Sync + 'a;
type LosesAt<'a> = dyn Fn(&Asked, &str) -> bool + Send + Sync + 'a;

/// Clones are the same pods.
#[derive(Clone)]
pub(crate) struct FakePods<'a> {
    pods: Arc<Mutex<Found>>,
    rules: Arc<Mutex<Rules>>,
    otherwise: Arc<Otherwise<'a>>,
    loses_at: Arc<LosesAt<'a>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    left: Arc<Mutex<Vec<Child>>>,
}

impl<'a> FakePods<'a> {
    pub(crate) fn new(pods: Vec<Pod>) -> Self {
        let unanswered = |asked: &Asked| -> Does { panic!("nobody answers {}", asked.text()) };
        Self {
            pods: Arc::new(Mutex::new([Ok(pods)].into())),
            rules: Arc::default(),
            otherwise: Arc::new(unanswered),
            loses_at: Arc::new(|_, _| false),
            asked: Arc::default(),
            left: Arc::default(),
        }
    }

    /// What is found instead of the pods, in turn; the last stays.
    pub(crate) fn found(self, found: &[Result<Vec<Pod>, CallFailure>]) -> Self {
        *self.pods.lock().unwrap() = found.iter().cloned().collect();
        self
    }

    pub(crate) fn change(&self, pod: &str, change: impl FnOnce(&mut Pod)) {
        let mut found = self.pods.lock().unwrap();
        let pods = found[0].as_mut().unwrap();
        change(pods.iter_mut().find(|known| known.name == pod).unwrap());
    }

    /// What commands do whose text has all that is between the `*`, in turn; the last stays. The rule that was made first
    /// counts, made again it is another one, and without answers none.
    pub(crate) fn when<D: Into<Does>>(&self, what: &str, does: impl IntoIterator<Item = D>) -> Self {
        let does = does.into_iter().map(Into::into).collect();
        let mut rules = self.rules.lock().unwrap();
        match rules.iter_mut().find(|(known, _)| known == what) {
            Some(rule) => rule.1 = does,
            None => rules.push((what.to_owned(), does)),
        }
        self.clone()
    }

    /// What all other commands do.
    pub(crate) fn otherwise(self, does: impl Fn(&Asked) -> Does + Send + Sync + 'a) -> Self {
        Self { otherwise: Arc::new(does), ..self }
    }

    /// Whether the connection is lost after a line of a command that is listened to; what runs here goes on.
    pub(crate) fn loses_at(self, loses: impl Fn(&Asked, &str) -> bool + Send + Sync + 'a) -> Self {
        Self { loses_at: Arc::new(loses), ..self }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// What was asked since the last time.
    pub(crate) fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// How many commands came with this in their text.
    pub(crate) fn count(&self, what: &str) -> usize {
        self.asked().iter().filter(|asked| asked.text().contains(what)).count()
    }

    /// Waits for the end of the commands whose connection was lost.
    pub(crate) async fn outlast(&self) {
        let left = std::mem::take(&mut *self.left.lock().unwrap());
        for mut child in left {
            child.wait().await.unwrap();
        }
    }

    fn does(&self, asked: &Asked) -> Does {
        let text = asked.text();
        let mut rules = self.rules.lock().unwrap();
        let fits = |what: &str| what.split('*').all(|part| text.contains(part));
        match rules.iter_mut().find(|(what, does)| fits(what) && !does.is_empty()) {
            Some((_, does)) => next(does),
            None => (self.otherwise)(asked),
        }
    }

    async fn perform(
        &self,
        place: Place<'_>,
        command: &[&str],
        timeout: Duration,
        heard: Option<&mpsc::Sender<Heard>>,
    ) -> Result<Ran, NoEnd> {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        let asked = Asked { place: format!("{}/{}", place.pod, place.container), command, timeout };
        self.asked.lock().unwrap().push(asked.clone());
        match self.does(&asked) {
            Does::End(end) => end,
            Does::EndAfter(time, end) => {
                tokio::time::sleep(time).await;
                Err(end)
            }
            Does::Hang => std::future::pending().await,
            Does::RunHere(command) => {
                let child = spawn(&mut command.lock().unwrap());
                match heard {
                    Some(heard) => self.listen(child, &asked, heard).await,
                    None => Ok(ended(child).await),
                }
            }
        }
    }

    async fn listen(
        &self,
        mut child: Child,
        asked: &Asked,
        heard: &mpsc::Sender<Heard>,
    ) -> Result<Ran, NoEnd> {
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            heard.send(Heard::Line(line.clone())).await.unwrap();
            if (self.loses_at)(asked, &line) {
                // Somebody must read on, as the runtime does.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                self.left.lock().unwrap().push(child);
                return Err(NoEnd::Lost("the connection was closed".to_owned()));
            }
        }
        let ran = ended(child).await;
        for line in ran.stderr.lines() {
            heard.send(Heard::Line(line.to_owned())).await.unwrap();
        }
        Ok(ran)
    }
}

fn spawn(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

async fn ended(child: Child) -> Ran {
    let output = child.wait_with_output().await.unwrap();
    // As a container runtime tells it.
    let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap());
    Ran { code, stdout: output.stdout.into(), stderr: String::from_utf8_lossy(&output.stderr).into_owned() }
}

fn next<T: Clone>(answers: &mut VecDeque<T>) -> T {
    if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() }
}

impl RunInPod for FakePods<'_> {
    async fn run(&self, place: Place<'_>, command: &[&str], timeout: Duration) -> Result<Ran, NoEnd> {
        self.perform(place, command, timeout, None).await
    }
}

impl FindPods for FakePods<'_> {
    async fn find(&self, _namespace: &str, selector: &str) -> Result<Vec<Pod>, CallError> {
        let has = |pod: &Pod, pair: &str| {
            let (key, value) = pair.split_once('=').unwrap();
            pod.labels.get(key).is_some_and(|label| label == value)
        };
        let mut pods = self.pods().await?;
        pods.retain(|pod| selector.split(',').all(|pair| has(pod, pair)));
        Ok(pods)
    }
}

impl Access for FakePods<'_> {
    async fn pods(&self) -> Result<Vec<Pod>, CallError> {
        let refused = |failure| CallError { what: "list Pods".to_owned(), failure, message: "no".to_owned() };
        next(&mut self.pods.lock().unwrap()).map_err(refused)
    }

    async fn follow(
        &self,
        place: Place<'_>,
        command: &[&str],
        timeout: Duration,
        heard: &mpsc::Sender<Heard>,
    ) -> Result<i32, NoEnd> {
        Ok(self.perform(place, command, timeout, Some(heard)).await?.code)
    }
}
