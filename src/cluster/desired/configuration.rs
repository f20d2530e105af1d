//! The contents of pgBackRest's configuration files, for PostgreSQL's pods and for the repo host.
//!
//! Each option is written once: options in the resource's `global` have priority, and generated ones are only added.
//! pgBackRest rejects an option that is set twice (error 31) or without a value (error 32).

use std::collections::BTreeMap;
use std::fmt::Write;

use super::certificates::{self, Side};
use super::{hash_of, paths};
use crate::cluster::address::IpFamilies;
use crate::cluster::containers::{self, Container};
use crate::cluster::labels;
use crate::cluster::line::Line;
use crate::cluster::names;
use crate::cluster::settings::Settings;
use crate::cluster::validated::{
    BackupStandby, GcsCredentials, KeyFile, RepoNumber, STANZA, Storage, ValidatedCluster, ValidatedRepo,
};

/// Seconds that `archive-push` waits for a repo host that neither answers nor takes data. pgBackRest's default of half an
/// hour suits backups. If the repo host's pod disappears in the middle of a segment, nothing else ends the wait: TCP
/// keep-alive does not apply while data is unacknowledged. pgBackRest 2.45 waits that long twice, the second time to end
/// the session, and PostgreSQL archives nothing meanwhile.
const ARCHIVE_PUSH_PROTOCOL_TIMEOUT: &str = "60";
/// `archive-push` does not use a database, but `protocol-timeout` must be longer than this.
const ARCHIVE_PUSH_DB_TIMEOUT: &str = "30";

/// One configuration file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DesiredConfiguration {
    global: BTreeMap<String, Line>,
    /// Options of this command, which override global ones.
    archive_push: BTreeMap<String, Line>,
    stanza: BTreeMap<String, Line>,
}

/// The file in PostgreSQL's pods: how to reach all repos.
pub(super) fn for_instances(
    cluster: &ValidatedCluster,
    settings: &Settings,
    families: IpFamilies,
) -> DesiredConfiguration {
    let global = fitting(cluster, Container::Database);
    let mut configuration = DesiredConfiguration { global, ..DesiredConfiguration::default() };
    configuration.fill("log-path", &settings.database_log_path);
    configuration.fill("spool-path", &settings.database_spool_path);
    for repo in &cluster.repos {
        configuration.fill_repo(cluster, settings, repo);
    }
    if cluster.needs_repo_host() {
        configuration.fill_server(cluster, Side::Database, families);
    }
    if cluster.has_volumes() {
        configuration.fill_archive_push();
    }
    configuration.fill_database(settings, 1);
    configuration.fill_encrypted_data_directory(cluster);
    configuration
}

/// The file on the repo host: the repos whose backups are made there, and the possible pods of PostgreSQL.
///
/// It omits the other repos: an option of such a repo would define a repo on the container's own disk.
pub(super) fn for_repo_host(
    cluster: &ValidatedCluster,
    settings: &Settings,
    families: IpFamilies,
) -> DesiredConfiguration {
    let on_volumes: Vec<RepoNumber> =
        cluster.repos.iter().filter(|repo| repo.storage.is_volume()).map(|repo| repo.number).collect();
    let here = Container::RepoHost { instances: cluster.instances, volumes: &on_volumes };
    let made_here: Vec<&ValidatedRepo> = cluster.repos.iter().filter(|repo| repo.on_repo_host).collect();
    let is_made_here = |number| made_here.iter().any(|repo| repo.number == number);
    let mut global = fitting(cluster, here);
    global.retain(|option, _| repo_of_option(option).is_none_or(is_made_here));
    let mut configuration = DesiredConfiguration { global, ..DesiredConfiguration::default() };
    configuration.fill("log-path", containers::REPO_HOST_LOG);
    let standby = cluster.backup_standby.map_or("", BackupStandby::as_str);
    if here.objection("backup-standby", standby).is_none() {
        configuration.fill("backup-standby", standby);
    }
    for repo in made_here {
        if repo.storage.is_volume() {
            configuration.fill(format!("{}-path", repo.number), names::volume_mount(repo.number));
        } else {
            configuration.fill_repo(cluster, settings, repo);
        }
    }
    configuration.fill_server(cluster, Side::RepoHost, families);
    // Without any pg1, every command including `info` fails, so the first pod is configured even if none is running.
    for index in 1..=cluster.instances.max(1) {
        let pod = names::database_pod(&cluster.name, index - 1);
        let host = names::pod_host(&pod, &cluster.name, &cluster.namespace, &settings.cluster_domain);
        configuration.fill_database(settings, index);
        configuration.fill_connection(Section::Stanza, &format!("pg{index}"), &host, cluster, Side::RepoHost);
    }
    configuration.fill_encrypted_data_directory(cluster);
    configuration
}

/// The options of the resource that work in a container.
fn fitting(cluster: &ValidatedCluster, container: Container<'_>) -> BTreeMap<String, Line> {
    let fits = |option: &str, value: &str| container.objection(option, value).is_none();
    let options = cluster.global.iter().filter(|(option, value)| fits(option, value));
    options.map(|(option, value)| (option.clone(), value.clone())).collect()
}

#[derive(Clone, Copy)]
enum Section {
    Global,
    ArchivePush,
    Stanza,
}

impl DesiredConfiguration {
    /// The file's text. Its first line is a comment with the hash of the rest.
    pub(super) fn text(&self) -> String {
        format!("# {}: {}\n{}", labels::CONFIGURATION_HASH, self.hash(), self.body())
    }

    /// The hash of everything except the first line.
    pub(super) fn hash(&self) -> String {
        hash_of(&[&self.body()])
    }

    /// A hash of the options of each repo, except retention.
    pub(super) fn repo_hashes(&self, cluster: &ValidatedCluster) -> BTreeMap<RepoNumber, String> {
        let of_repo = |number: RepoNumber| {
            let counts = |option: &str| {
                repo_of_option(option) == Some(number) && !option.starts_with(&format!("{number}-retention-"))
            };
            let options = self.global.iter().filter(|(option, _)| counts(option));
            let lines: Vec<String> = options.map(|(option, value)| format!("{option}={value}\n")).collect();
            (number, hash_of(&[&lines.concat()]))
        };
        cluster.repos.iter().map(|repo| of_repo(repo.number)).collect()
    }

    fn body(&self) -> String {
        let mut text = String::new();
        let sections =
            [("global", &self.global), ("global:archive-push", &self.archive_push), (STANZA, &self.stanza)];
        for (section, options) in sections {
            if options.is_empty() {
                continue;
            }
            let _ = writeln!(text, "[{section}]");
            for (option, value) in options {
                let _ = writeln!(text, "{option}={value}");
            }
        }
        text
    }

    fn fill(&mut self, option: impl Into<String>, value: impl AsRef<str>) {
        self.fill_in(Section::Global, option, value);
    }

    /// Sets an option unless it is already set. Empty values are omitted.
    fn fill_in(&mut self, section: Section, option: impl Into<String>, value: impl AsRef<str>) {
        self.set(section, option, Line::made(value.as_ref()));
    }

    /// The same with a value from the resource.
    fn fill_line(&mut self, option: impl Into<String>, value: Option<&Line>) {
        self.set(Section::Global, option, value.cloned());
    }

    fn set(&mut self, section: Section, option: impl Into<String>, value: Option<Line>) {
        let Some(value) = value else { return };
        let options = match section {
            Section::Global => &mut self.global,
            Section::ArchivePush => &mut self.archive_push,
            Section::Stanza => &mut self.stanza,
        };
        options.entry(option.into()).or_insert(value);
    }

    fn fill_repo(&mut self, cluster: &ValidatedCluster, settings: &Settings, repo: &ValidatedRepo) {
        let number = repo.number;
        if !repo.storage.is_volume() {
            self.fill(format!("{number}-type"), repo.storage.as_str());
        }
        match &repo.storage {
            Storage::Volume(_) => {
                let pod = names::repo_host_pod(&cluster.name);
                let host = names::pod_host(&pod, &cluster.name, &cluster.namespace, &settings.cluster_domain);
                self.fill_connection(Section::Global, &number.to_string(), &host, cluster, Side::Database);
            }
            Storage::S3 { bucket, endpoint, region } => {
                self.fill_line(format!("{number}-s3-bucket"), Some(bucket));
                self.fill_line(format!("{number}-s3-endpoint"), Some(endpoint));
                self.fill_line(format!("{number}-s3-region"), Some(region));
            }
            Storage::Azure { container, account, endpoint } => {
                self.fill_line(format!("{number}-azure-container"), Some(container));
                self.fill_line(format!("{number}-azure-account"), account.as_ref());
                self.fill_line(format!("{number}-azure-endpoint"), endpoint.as_ref());
            }
            Storage::Gcs { bucket, endpoint, credentials } => {
                self.fill_line(format!("{number}-gcs-bucket"), Some(bucket));
                self.fill_line(format!("{number}-gcs-endpoint"), endpoint.as_ref());
                let key_type = match credentials {
                    GcsCredentials::Service(key) => {
                        let option = format!("{number}-gcs-key");
                        match key {
                            KeyFile::InSecret(file) => {
                                self.fill(option, format!("{}/{file}", names::CONFIGURATION_DIRECTORY));
                            }
                            KeyFile::Mounted(path) => self.fill_line(option, Some(path)),
                            KeyFile::Named => {}
                        }
                        "service"
                    }
                    GcsCredentials::Auto => "auto",
                    GcsCredentials::Token => "token",
                };
                self.fill(format!("{number}-gcs-key-type"), key_type);
            }
        }
    }

    /// How `side` connects to the `pgbackrest server` of the other side; `prefix` is `repo1` or `pg1`.
    fn fill_connection(
        &mut self,
        section: Section,
        prefix: &str,
        host: &str,
        cluster: &ValidatedCluster,
        side: Side,
    ) {
        let mut fill =
            |option: &str, value: &str| self.fill_in(section, format!("{prefix}-host{option}"), value);
        fill("", host);
        fill("-type", "tls");
        fill("-port", &paths::server_port(cluster).to_string());
        fill("-ca-file", &certificates::path(certificates::ROOTS));
        fill("-cert-file", &certificates::path(side.certificate()));
        fill("-key-file", &certificates::path(side.key()));
    }

    /// The options of `pgbackrest server` on `side`.
    fn fill_server(&mut self, cluster: &ValidatedCluster, side: Side, families: IpFamilies) {
        self.fill("tls-server-address", families.server_address());
        self.fill("tls-server-port", paths::server_port(cluster).to_string());
        self.fill("tls-server-ca-file", certificates::path(certificates::ROOTS));
        self.fill("tls-server-cert-file", certificates::path(side.certificate()));
        self.fill("tls-server-key-file", certificates::path(side.key()));
        // Not only the stanza: `info` without a stanza would be rejected.
        self.fill("tls-server-auth", format!("{}=*", certificates::common_name(cluster)));
    }

    /// With `archive-async`, this timeout also limits the transfer of a whole segment to all repos, so pgBackRest's
    /// default is kept.
    fn fill_archive_push(&mut self) {
        let is_async = self.global.get("archive-async").is_some_and(|value| **value == *"y");
        if is_async || self.global.contains_key("protocol-timeout") {
            return;
        }
        self.fill_in(Section::ArchivePush, "db-timeout", ARCHIVE_PUSH_DB_TIMEOUT);
        self.fill_in(Section::ArchivePush, "protocol-timeout", ARCHIVE_PUSH_PROTOCOL_TIMEOUT);
    }

    fn fill_database(&mut self, settings: &Settings, index: u32) {
        // These are options of a stanza: pgBackRest ignores them in [global] with a warning.
        let stanza = Section::Stanza;
        self.fill_in(stanza, format!("pg{index}-path"), &settings.database_path);
        self.fill_in(stanza, format!("pg{index}-port"), settings.database_port.to_string());
        self.fill_in(stanza, format!("pg{index}-socket-path"), &settings.database_socket_path);
    }

    /// Pages and WAL headers of an encrypted data directory cannot be read, so pgBackRest must not try.
    fn fill_encrypted_data_directory(&mut self, cluster: &ValidatedCluster) {
        let Some(version) = &cluster.encrypted_data_directory else { return };
        self.fill("archive-header-check", "n");
        self.set(Section::Stanza, "pg-version-force", Some(version.line().clone()));
    }
}

/// The repo that an option such as `repo2-retention-full` is about.
fn repo_of_option(option: &str) -> Option<RepoNumber> {
    option.split_once('-').and_then(|(repo, _)| RepoNumber::of_name(repo))
}
