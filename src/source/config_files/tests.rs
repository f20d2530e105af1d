//! Real files: what is read, what is refused, and when it is read again.

use crate::state::snapshot::Retention;

use super::*;

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
    let configuration =
        ConfigFiles::of(&plain(), &environment(&passed)).refresh(Product::PgBackRest).await.unwrap();
    let settings = configuration.settings("demo", 1).unwrap();
    assert_eq!(settings.storage.as_deref(), Some("s3"));
    assert_eq!((settings.retention_full, settings.retention_diff), (Some(Retention::Count(7)), Some(4)));

    let file = case.path("pgbackrest.conf").display().to_string();
    let passed = [("PGBACKREST_CONFIG", &*file), ("PGBACKREST_REPO2_TYPE", "azure")];
    let configuration =
        ConfigFiles::of(&plain(), &environment(&passed)).refresh(Product::PgBackRest).await.unwrap();
    assert_eq!(configuration.repo_keys(), [1, 2]);
    assert_eq!(configuration.settings("demo", 1).unwrap().retention_diff, None, "the include is not read");
    let passed = [("PGBACKREST_CONFIG_INCLUDE_PATH", "/nonexistent")];
    assert!(ConfigFiles::of(&plain(), &environment(&passed)).refresh(Product::PgBackRest).await.is_none());
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
    let configuration = case.files(true).refresh(Product::PgBackRest).await.unwrap();
    assert_eq!((configuration.stanzas(), configuration.repo_keys()), (vec!["demo"], vec![1, 2]));
    let first = configuration.settings("demo", 1).unwrap();
    assert_eq!((first.storage.as_deref(), first.retention_full), (Some("posix"), Some(Retention::Count(2))));
    let second = configuration.settings("not in the file", 2).unwrap();
    assert_eq!((second.storage.as_deref(), second.retention_full), (Some("s3"), Some(Retention::Days(9))));
    // The include directory counts only where it is named, or nothing is.
    assert_eq!(case.files(false).refresh(Product::PgBackRest).await.unwrap().repo_keys(), [1]);
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
    let configuration = case.files(false).refresh(Product::PgBackRest).await.unwrap();
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
    assert!(
        files.refresh(Product::PgBackRest).await.is_none() && !files.is_ok(),
        "the file that was asked for is missing"
    );
    case.write("main.conf", "[global]\nrepo1-path=/r1\n");
    assert!(files.refresh(Product::PgBackRest).await.is_none() && !files.is_ok(), "the directory is missing");
    case.write("conf.d/a.conf", "[demo]\n");
    let first = files.refresh(Product::PgBackRest).await.unwrap();
    assert!(files.is_ok());
    assert!(
        Arc::ptr_eq(&first, &files.refresh(Product::PgBackRest).await.unwrap()),
        "nothing is read without a change"
    );
    case.write("conf.d/b.conf", "[global]\nrepo3-path=/r3\n");
    assert_eq!(files.refresh(Product::PgBackRest).await.unwrap().repo_keys(), [1, 3]);
    case.write("main.conf", "no section\n");
    assert!(files.refresh(Product::PgBackRest).await.is_none() && !files.is_ok());
    case.write("main.conf", "[global]\nrepo1-retention-full=many\n");
    let refused = files.refresh(Product::PgBackRest).await.unwrap();
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
    assert_eq!(end(files.refresh(Product::PgBackRest).await), [(CredentialKind::TlsCa, 2031)]);
    fs::remove_file(case.path("ca.pem")).unwrap();
    assert_eq!(end(files.refresh(Product::PgBackRest).await), []);
    case.write("ca.pem", &certificate(2040));
    assert_eq!(end(files.refresh(Product::PgBackRest).await), [(CredentialKind::TlsCa, 2040)]);
}

#[tokio::test]
async fn what_is_too_big_or_no_file_is_not_read() {
    let case = Case::new();
    fs::create_dir(case.path("main.conf")).unwrap();
    assert!(case.files(false).refresh(Product::PgBackRest).await.is_none());
    fs::remove_dir(case.path("main.conf")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(case.path("main.conf")).status().unwrap();
    assert!(made.success());
    assert!(case.files(false).refresh(Product::PgBackRest).await.is_none());
    fs::remove_file(case.path("main.conf")).unwrap();
    case.write("main.conf", &format!("[global]\n#{}\n", "x".repeat(1 << 20)));
    assert!(case.files(false).refresh(Product::PgBackRest).await.is_none());
    case.write("main.conf", "[global]\n");
    for number in 0..=MAX_FILES {
        case.write(&format!("conf.d/{number}.conf"), "");
    }
    assert!(case.files(true).refresh(Product::PgBackRest).await.is_none());
}

#[test]
fn each_program_has_its_own_default_files() {
    let of = |product, variables: &[(&str, &str)]| {
        let environment = environment(variables);
        let variables: Vec<(&str, &str)> = environment.options().collect();
        let Places { main, include, .. } = GivenPlaces::of(&plain(), &variables).places(product);
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
async fn another_program_reads_other_files() {
    let case = Case::new();
    case.write("pgbackrest.conf", "[global]\nrepo1-type=s3\n[demo]\n");
    case.write("pgbunker.conf", "[global]\nrepo1-type=gcs\nlock-path=/run/l\n[demo]\n");
    let path = case.directory.path().display().to_string();
    let mut files = ConfigFiles::of(&plain(), &environment(&[("PGBACKREST_CONFIG_PATH", &*path)]));
    for (product, storage, locks) in
        [(Product::PgBackRest, "s3", 0), (Product::PgBunker, "gcs", 1), (Product::PgBackRest, "s3", 0)]
    {
        let configuration = files.refresh(product).await.unwrap();
        let settings = configuration.settings("demo", 1).unwrap();
        assert_eq!(settings.storage.as_deref(), Some(storage));
        assert_eq!(configuration.lock_paths().filter(|path| *path == Path::new("/run/l")).count(), locks);
    }
}
