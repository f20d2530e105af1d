//! The files of a host, read as those of a pod are: by the programs of the operating system.

use std::path::Path;
use std::time::{Duration, Instant};

use pgbackrest_keeper::pgbackrest::conf::Archiving;
use pgbackrest_keeper::source::pod::Place;
use pgbackrest_keeper::source::pod_files::{FilePaths, FilesRead, PodFiles};
use pgbackrest_keeper::state::archiver::Archiver;
use serde_json::{Value, json};

use crate::support::fake_pods::pod;
use crate::support::lab::{Lab, STANZA};

/// What is read in a pod with these files.
pub(crate) fn read(lab: &Lab<'_>, paths: &FilePaths) -> FilesRead {
    let pods = lab.site.as_pods(&[pod("a-0", &["postgres"])], Path::new("/nonexistent"));
    let files = PodFiles {
        pods: &pods,
        place: Place { namespace: "n", pod: "a-0", container: "postgres" },
        stanza: STANZA,
        timeout: Duration::from_mins(1),
        began: Instant::now(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(files.read(paths))
}

/// The files of a lab whose cluster archives.
pub(crate) fn paths(lab: &Lab<'_>) -> FilePaths {
    let archiving = Archiving {
        pg_path: lab.postgres.data.display().to_string(),
        spool_path: Some(lab.site.path("spool").display().to_string()),
        queue_max: None,
    };
    FilePaths { lock: Some(lab.site.path("lock")), archiving: Some(Ok(archiving)) }
}

/// What waits, what was pushed and what failed.
pub(crate) fn archiver(lab: &Lab<'_>) -> Value {
    let observed = read(lab, &paths(lab)).archiver.unwrap();
    shown(&serde_json::to_value(Archiver::of(&observed, None, &[])).unwrap())
}

/// The same part of what the program prints.
pub(crate) fn shown(archiver: &Value) -> Value {
    let shown = ["problem", "spool_problem", "queue", "pushed_files", "errors"];
    shown.into_iter().map(|name| (name.to_owned(), archiver[name].clone())).collect()
}

/// The names of the stop files, as they are read on a host that archives, and on another.
pub(crate) fn stop_files(lab: &Lab<'_>) -> [Value; 2] {
    let whole = paths(lab);
    let alone = FilePaths { archiving: None, ..whole.clone() };
    [whole, alone].map(|paths| {
        let listing = read(lab, &paths).stop_files;
        let of_lock = listing.get(&lab.site.path("lock"));
        of_lock.map_or(Value::Null, |files| {
            files.iter().map(|(name, at)| json!([name, at.timestamp()])).collect()
        })
    })
}
