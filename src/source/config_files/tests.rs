//! Real files: what is read, what is refused, and when it is read again.

use crate::state::snapshot::{RepoSettings, Retention};

use super::*;

/// What the program says that it is.
const SAID: Option<Product> = Some(Product::PgBackRest);

struct Case {
    directory: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn files(&self, include: bool) -> ConfigFiles {
        let program = Program {
            config: Some(self.path("main.conf")),
            config_include_path: include.then(|| self.path("conf.d")),
            ..plain()
        };
        ConfigFiles::of(&program, &environment(&[]))
    }
}

/// pgBackRest as it is started without any option of where its configuration is.
fn plain() -> Program {
    Program { binary: "pgbackrest".into(), config: None, config_include_path: None }
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    let pass: Vec<String> = variables.iter().map(|(name, _)| (*name).to_owned()).collect();
    Environment::choose(variables.iter().map(|(name, value)| (name.into(), value.into())), &pass)
}

/// A self-signed certificate that ends in that year.
fn certificate(year: i32) -> String {
    let mut params = rcgen::CertificateParams::new(["keeper.test".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
}

fn ends(settings: &RepoSettings) -> Vec<(CredentialKind, i32)> {
    use chrono::Datelike as _;
    settings.credentials.iter().map(|credential| (credential.kind, credential.not_after.year())).collect()
}

#[tokio::test]
async fn variables_say_where_files_are_and_win_over_them() {
    let case = Case::new();
    case.write("pgbackrest.conf", "[global]\nrepo1-type=s3\n[demo:backup]\nrepo1-retention-full=2\n");
    case.write("conf.d/20.conf", "[global]\nrepo1-retention-diff=4\n");
    let path = case.directory.path().display().to_string();
    let passed = [("PGBACKREST_CONFIG_PATH", &*path), ("PGBACKREST_REPO1_RETENTION_FULL", "7")];
    let configuration = ConfigFiles::of(&plain(), &environment(&passed)).refresh(SAID).await.unwrap();
    let settings = configuration.settings("demo", 1).unwrap();
    assert_eq!(settings.storage.as_deref(), Some("s3"));
    assert_eq!((settings.retention_full, settings.retention_diff), (Some(Retention::Count(7)), Some(4)));

    let file = case.path("pgbackrest.conf").display().to_string();
    let passed = [("PGBACKREST_CONFIG", &*file), ("PGBACKREST_REPO2_TYPE", "azure")];
    let configuration = ConfigFiles::of(&plain(), &environment(&passed)).refresh(SAID).await.unwrap();
    assert_eq!(configuration.repo_keys(), [1, 2]);
    assert_eq!(configuration.settings("demo", 1).unwrap().retention_diff, None, "the include is not read");
    let passed = [("PGBACKREST_CONFIG_INCLUDE_PATH", "/nonexistent")];
    assert!(ConfigFiles::of(&plain(), &environment(&passed)).refresh(SAID).await.is_none());
}

#[tokio::test]
async fn settings_come_from_all_files_in_order() {
    let case = Case::new();
    case.write("main.conf", "[global]\nrepo1-path=/r1\nrepo1-retention-full=2\n[demo]\npg1-path=/pg\n");
    case.write(
        "conf.d/20-s3.conf",
        "[global]\nrepo2-type=s3\nrepo2-retention-full=9\nrepo2-retention-full-type=time\n",
    );
    case.write("conf.d/ignored.txt", "[other]\n");
    let configuration = case.files(true).refresh(SAID).await.unwrap();
    assert_eq!((configuration.stanzas(), configuration.repo_keys()), (vec!["demo"], vec![1, 2]));
    let first = configuration.settings("demo", 1).unwrap();
    assert_eq!((first.storage.as_deref(), first.retention_full), (Some("posix"), Some(Retention::Count(2))));
    let second = configuration.settings("not in the file", 2).unwrap();
    assert_eq!((second.storage.as_deref(), second.retention_full), (Some("s3"), Some(Retention::Days(9))));
    // The include directory counts only where it is named, or nothing is.
    assert_eq!(case.files(false).refresh(SAID).await.unwrap().repo_keys(), [1]);
}

#[tokio::test]
async fn certificates_are_read_for_their_end_alone() {
    let case = Case::new();
    case.write("client.pem", &(certificate(2031) + &certificate(2030)));
    case.write("ca.pem", &(certificate(2032) + &certificate(2034)));
    case.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let conf = format!(
        "[global]\nrepo1-host=repo\nrepo1-host-type=tls\nrepo1-host-cert-file={}\nrepo1-host-ca-file={}\n\
         repo2-type=azure\nrepo2-azure-key-type=sas\nrepo2-azure-key=sv=1&se=2029-05-01T00:00:00Z&sig=secret\n\
         repo3-type=s3\nrepo3-storage-ca-file={}\n",
        case.path("client.pem").display(),
        case.path("ca.pem").display(),
        case.path("broken.pem").display(),
    );
    case.write("main.conf", &conf);
    let configuration = case.files(false).refresh(SAID).await.unwrap();
    let of = |key| ends(&configuration.settings("demo", key).unwrap());
    assert_eq!(of(1), [(CredentialKind::TlsClient, 2031), (CredentialKind::TlsCa, 2034)]);
    assert_eq!(of(2), [(CredentialKind::AzureSas, 2029)]);
    assert_eq!(of(3), []);
    assert!(!format!("{configuration:?}").contains("secret"));
}

#[tokio::test]
async fn changes_are_seen_and_faults_are_no_failures() {
    let case = Case::new();
    let mut files = case.files(true);
    assert!(files.refresh(SAID).await.is_none() && !files.is_ok(), "the file that was asked for is missing");
    case.write("main.conf", "[global]\nrepo1-path=/r1\n");
    assert!(files.refresh(SAID).await.is_none() && !files.is_ok(), "the directory is missing");
    case.write("conf.d/a.conf", "[demo]\n");
    let first = files.refresh(SAID).await.unwrap();
    assert!(files.is_ok());
    assert!(Arc::ptr_eq(&first, &files.refresh(SAID).await.unwrap()), "nothing is read without a change");
    case.write("conf.d/b.conf", "[global]\nrepo3-path=/r3\n");
    assert_eq!(files.refresh(SAID).await.unwrap().repo_keys(), [1, 3]);
    case.write("main.conf", "no section\n");
    assert!(files.refresh(SAID).await.is_none() && !files.is_ok());
    case.write("main.conf", "[global]\nrepo1-retention-full=many\n");
    let refused = files.refresh(SAID).await.unwrap();
    assert_eq!((refused.settings("demo", 1), refused.settings("demo", 3).is_some()), (None, true));
}

#[tokio::test]
async fn a_renewed_certificate_is_seen() {
    let case = Case::new();
    case.write("ca.pem", &certificate(2031));
    case.write("main.conf", &format!("[global]\nrepo1-storage-ca-file={}\n", case.path("ca.pem").display()));
    let mut files = case.files(false);
    let end =
        |configuration: Option<Arc<Configuration>>| ends(&configuration.unwrap().settings("x", 1).unwrap());
    assert_eq!(end(files.refresh(SAID).await), [(CredentialKind::TlsCa, 2031)]);
    fs::remove_file(case.path("ca.pem")).unwrap();
    assert_eq!(end(files.refresh(SAID).await), []);
    case.write("ca.pem", &certificate(2040));
    assert_eq!(end(files.refresh(SAID).await), [(CredentialKind::TlsCa, 2040)]);
}

#[tokio::test]
async fn what_is_too_big_or_no_file_is_not_read() {
    let case = Case::new();
    fs::create_dir(case.path("main.conf")).unwrap();
    assert!(case.files(false).refresh(SAID).await.is_none());
    fs::remove_dir(case.path("main.conf")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(case.path("main.conf")).status().unwrap();
    assert!(made.success());
    assert!(case.files(false).refresh(SAID).await.is_none());
    fs::remove_file(case.path("main.conf")).unwrap();
    let limited = |include| {
        let mut files = case.files(include);
        files.given.limits = FileLimits { files: 3, bytes: 100 };
        files
    };
    let problem = |files: &ConfigFiles| files.health().unwrap().problem.unwrap_or_default();
    case.write("main.conf", &format!("[global]\n#{}\n", "x".repeat(88)));
    let mut files = limited(true);
    case.write("conf.d/1.conf", "");
    assert!(files.refresh(SAID).await.is_some() && problem(&files).is_empty(), "{:?}", files.health());
    case.write("conf.d/2.conf", "[global]\n#x\n");
    assert!(files.refresh(SAID).await.is_none());
    assert!(
        problem(&files)
            .contains("2.conf: all files together contain more than 100 bytes, which is the limit")
    );
    for number in 2..=4 {
        case.write(&format!("conf.d/{number}.conf"), "");
    }
    assert!(files.refresh(SAID).await.is_none());
    assert!(problem(&files).contains("conf.d contains more than 3 files, which is the limit"));
    fs::remove_file(case.path("conf.d/4.conf")).unwrap();
    assert!(files.refresh(SAID).await.is_some() && files.is_ok());
}

#[tokio::test]
async fn tens_of_thousands_of_stanzas_are_read() {
    let case = Case::new();
    let section = |name: &str, number: usize| {
        format!(
            "[{name}-{number}]\npg1-path=/pg/{number}\nrepo1-path=/r/{number}\nrepo2-cipher-pass=secret\n"
        )
    };
    let main: String = (0..40_000).map(|number| section("main", number)).collect();
    case.write("main.conf", &format!("[global]\nrepo1-retention-full=3\nrepo2-type=s3\n{main}"));
    for number in 0..1_000 {
        case.write(&format!("conf.d/{number}.conf"), &section("own", number));
    }
    let mut files = case.files(true);
    let mut read = files.refresh(SAID).await;
    // On a busy machine, the reading does not end in time, and goes on.
    for _ in 0..10 {
        if read.is_none() {
            read = files.refresh(SAID).await;
        }
    }
    let configuration = read.unwrap();
    assert!(files.is_ok() && files.health() == Some(ConfigurationHealth { problem: None }));
    assert_eq!((configuration.stanzas().len(), configuration.stanzas_apart().len()), (41_000, 41_000));
    for stanza in ["main-39999", "own-999"] {
        assert_eq!(configuration.settings(stanza, 1).unwrap().retention_full, Some(Retention::Count(3)));
        assert_eq!(configuration.settings(stanza, 2).unwrap().storage.as_deref(), Some("s3"));
    }
}

#[test]
fn each_program_has_its_own_default_files() {
    let of = |product, variables: &[(&str, &str)]| {
        let environment = environment(variables);
        let Places { main, include, .. } = GivenPlaces::of(&plain(), &environment).places(product);
        let text = |path: PathBuf| path.display().to_string();
        (main.into_iter().map(text).collect::<Vec<_>>(), include.map(text).unwrap())
    };
    for (product, main, old) in [
        (Product::PgBackRest, "/etc/pgbackrest/pgbackrest.conf", "/etc/pgbackrest.conf"),
        (Product::Pgxbackup, "/etc/pgxbackup/pgxbackup.conf", "/etc/pgbackrest.conf"),
        (Product::PgBunker, "/etc/pgbunker/pgbunker.conf", "/etc/pgbackrest/pgbackrest.conf"),
    ] {
        let include = format!("{}/conf.d", Path::new(main).parent().unwrap().display());
        assert_eq!(of(product, &[]), (vec![main.to_owned(), old.to_owned()], include));
        // The directory that a variable names has the program's own file.
        let name = Path::new(main).file_name().unwrap().display();
        let given = of(product, &[("PGBACKREST_CONFIG_PATH", "/x")]);
        assert_eq!(given, (vec![format!("/x/{name}")], "/x/conf.d".to_owned()));
    }
}

#[tokio::test]
async fn the_log_of_backups_is_that_of_the_stanza_and_the_program() {
    let case = Case::new();
    case.write(
        "main.conf",
        "[demo]\n[own]\nlog-path=/l\n[loud]\nlog-level-file=trace\n[quiet]\nlog-level-file=warn\n[twice]\nlog-path=/a\nlog-path=/b\n",
    );
    let mut files = case.files(false);
    for (said, directory) in [(SAID, "/var/log/pgbackrest"), (Some(Product::Pgxbackup), "/var/log/pgxbackup")]
    {
        let configuration = files.refresh(said).await.unwrap();
        let log = |stanza: &str| configuration.backup_log(stanza).map(|path| path.display().to_string());
        assert_eq!(log("demo"), Some(format!("{directory}/demo-backup.log")));
        assert_eq!(log("loud"), Some(format!("{directory}/loud-backup.log")));
        assert_eq!(log("own"), Some("/l/own-backup.log".to_owned()));
        for stanza in ["quiet", "twice", "../etc", ""] {
            assert_eq!(log(stanza), None, "{stanza}");
        }
    }
}

#[tokio::test]
async fn without_a_name_only_the_program_itself_tells_which_files_count() {
    let case = Case::new();
    case.write("bin/pgbackrest", "#!/bin/sh\n");
    let program = |config| Program { binary: case.path("bin/pgbackrest"), config, config_include_path: None };
    let passed = [("PGBACKREST_REPO1_TYPE", "s3")];
    let mut wrapped = ConfigFiles::of(&program(None), &environment(&passed));
    assert!(wrapped.refresh(SAID).await.is_none() && wrapped.is_ok());
    assert_eq!(wrapped.health(), None, "nothing is wrong, and nothing is known");
    // The same program, installed as it should be.
    case.write("bin/pgbackrest", "\x7fELF");
    assert!(wrapped.refresh(SAID).await.is_some());
    // It need not have said what it is, or it is a fork of that name.
    assert!(
        wrapped.refresh(None).await.is_some() && wrapped.refresh(Some(Product::Pgxbackup)).await.is_some()
    );
    case.write("bin/pgbackrest", "#!/bin/sh\n");
    assert!(wrapped.refresh(SAID).await.is_none());
    // A name is as good.
    case.write("main.conf", "[global]\nrepo1-type=azure\n");
    let named =
        ConfigFiles::of(&program(Some(case.path("main.conf"))), &environment(&[])).refresh(SAID).await;
    assert_eq!(named.unwrap().settings("x", 1).unwrap().storage.as_deref(), Some("azure"));
    let file = case.path("main.conf").display().to_string();
    let named =
        ConfigFiles::of(&program(None), &environment(&[("PGBACKREST_CONFIG", &file)])).refresh(SAID).await;
    assert_eq!(named.unwrap().settings("x", 1).unwrap().storage.as_deref(), Some("azure"));
    // A name counts for whatever a wrapper runs, with the files that this has in a directory.
    case.write("pgxbackup.conf", "[global]\nrepo1-type=gcs\n");
    let directory = case.directory.path().display().to_string();
    let mut named = ConfigFiles::of(&program(None), &environment(&[("PGBACKREST_CONFIG_PATH", &directory)]));
    let settings = named.refresh(Some(Product::Pgxbackup)).await.unwrap().settings("x", 1).unwrap();
    assert_eq!(settings.storage.as_deref(), Some("gcs"));
    // The directory alone leaves open which file comes before it.
    let included = Program { config_include_path: Some(case.path("conf.d")), ..program(None) };
    assert!(ConfigFiles::of(&included, &environment(&[])).refresh(SAID).await.is_none());
}

#[tokio::test]
async fn another_program_reads_other_files() {
    let case = Case::new();
    case.write("pgbackrest.conf", "[global]\nrepo1-type=s3\n[demo]\n");
    case.write("pgbunker.conf", "[global]\nrepo1-type=gcs\nlock-path=/run/l\n[demo]\n");
    let path = case.directory.path().display().to_string();
    let mut files = ConfigFiles::of(&plain(), &environment(&[("PGBACKREST_CONFIG_PATH", &*path)]));
    for (product, storage, locks) in
        [(Product::PgBackRest, "s3", 0), (Product::PgBunker, "gcs", 1), (Product::PgBackRest, "s3", 0)]
    {
        let configuration = files.refresh(Some(product)).await.unwrap();
        let settings = configuration.settings("demo", 1).unwrap();
        assert_eq!(settings.storage.as_deref(), Some(storage));
        assert_eq!(configuration.lock_paths().filter(|path| *path == Path::new("/run/l")).count(), locks);
        let expected = if locks == 1 { "/run/l" } else { "/tmp/pgbackrest" };
        assert_eq!(configuration.lock_path("demo").as_deref(), Some(Path::new(expected)));
    }
}
