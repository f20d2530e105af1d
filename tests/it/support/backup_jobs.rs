//! Backup Jobs of the example that tests start themselves, and what they have made.

use serde_json::{Value, json};

use super::example::Example;

/// What pgBackRest says when it has begun to copy.
pub(crate) const COPYING: &str = "backup start archive";

/// PostgreSQL archives nothing until this is dropped, so a backup waits for WAL for as long as its archive-timeout.
pub(crate) struct StoppedArchiver<'test> {
    example: &'test Example<'test>,
    process: String,
}

impl Drop for StoppedArchiver<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.example.signal_archiver("CONT", &self.process);
        }
    }
}

impl Example<'_> {
    /// A Job as `kubectl create job --from` makes it, with arguments in place of others.
    pub(crate) fn start_job(&self, name: &str, cron_job: &str, instead: &[(&str, &str)]) {
        let from = format!("--from=cronjob/{cron_job}");
        let create = ["create", "job", name, &from, "--dry-run=client", "--output=json"];
        let job = self.kubectl().run(&[&["--namespace", self.namespace], &create[..]].concat());
        let mut job: Value = serde_json::from_str(&job).unwrap();
        for argument in job["spec"]["template"]["spec"]["containers"][0]["args"].as_array_mut().unwrap() {
            if let Some((_, other)) = instead.iter().find(|(one, _)| *argument == *one) {
                *argument = json!(other);
            }
        }
        self.kubectl().apply(&job.to_string(), &[]);
    }

    pub(crate) fn log_of_job(&self, job: &str) -> String {
        let pods = self.pods(job);
        let names = pods.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap());
        names.map(|pod| self.kubectl().log(self.namespace, pod)).collect()
    }

    pub(crate) fn wait_until_it_copies(&self, job: &str) {
        self.wait_closely("the backup to copy", || self.log_of_job(job).contains(COPYING).then_some(()));
    }

    pub(crate) fn stop_archiver(&self) -> StoppedArchiver<'_> {
        let process = self.psql("select pid from pg_stat_activity where backend_type = 'archiver'");
        self.signal_archiver("STOP", &process);
        StoppedArchiver { example: self, process }
    }

    fn signal_archiver(&self, signal: &str, process: &str) {
        self.said("cluster-0", "postgres", &["sh", "-c", r#"kill -s "$0" "$1""#, signal, process]);
    }

    /// Enough that something can happen while it is copied, which takes seconds of a processor.
    pub(crate) fn have_much_to_copy(&self) {
        self.psql(
            "create table bulk as select md5(g::text) || md5((-g)::text) as entry from generate_series(1, 600000) g",
        );
    }

    /// The Jobs and pods that have made the backups, by their annotations.
    pub(crate) fn makers(&self, pod: &str, container: &str) -> Vec<String> {
        let info = self.info(pod, container);
        let maker =
            |backup: &Value| backup["annotation"]["pgbackrest-keeper.io-job"].as_str().map(str::to_owned);
        info[0]["backup"].as_array().unwrap().iter().filter_map(maker).collect()
    }
}
