//! Shared by all histories: our program, and a cluster for each segment size that is copied instead of created again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::support::exporter::our_program;
use crate::support::lab::Site;
use crate::support::machine::Pgbackrest;
use crate::support::postgres::Postgres;
use crate::support::process::{call, successful};

use super::history::Version;

/// Made once for all histories, which run side by side.
pub(super) struct Kit {
    site: Site,
    program: PathBuf,
    installed: Pgbackrest,
    newest: Pgbackrest,
    templates: Mutex<BTreeMap<u32, PathBuf>>,
}

impl Kit {
    /// An error tells what the machine lacks.
    pub(super) fn new() -> Result<Self, String> {
        let (installed, newest) = (Pgbackrest::installed()?, Pgbackrest::newest()?);
        let site = Site::new(Ok(installed.clone()))?;
        let program = our_program(&site);
        Ok(Self { site, program, installed, newest, templates: Mutex::default() })
    }

    pub(super) fn pgbackrest(&self, version: Version) -> &Pgbackrest {
        match version {
            Version::Installed => &self.installed,
            Version::Newest => &self.newest,
        }
    }

    /// Puts our program where a site looks for it.
    pub(super) fn lend_program(&self, site: &Site) {
        fs::hard_link(&self.program, site.path(self.program.file_name().unwrap().to_str().unwrap())).unwrap();
    }

    /// Copies a stopped cluster with an empty table of markers to `directory/data`, with these settings.
    pub(super) fn copy_cluster<'a>(
        &self,
        site: &'a Site,
        directory: &Path,
        segment_size: u32,
        settings: &str,
    ) -> Postgres<'a> {
        let template = self.template(segment_size);
        successful(
            call(site.account.as_ref(), "cp").arg("-a").args([template.join("data"), directory.join("data")]),
        );
        Postgres::existing(site.account.as_ref(), site.programs(), directory, settings)
    }

    fn template(&self, segment_size: u32) -> PathBuf {
        let mut templates = self.templates.lock();
        let made = templates.entry(segment_size).or_insert_with(|| self.make_template(segment_size));
        made.clone()
    }

    fn make_template(&self, segment_size: u32) -> PathBuf {
        let (site, name) = (&self.site, format!("template-{segment_size}"));
        let directory = site.create_directory(&name);
        let account = site.account.as_ref();
        let mut postgres = Postgres::create(account, site.programs(), &directory, segment_size, "true");
        postgres.start();
        // Without the template databases each backup and each restore copies a third of the files.
        postgres.sql_each(&[
            "create table lines (id int primary key)",
            "update pg_database set datistemplate = false",
            "drop database template0",
            "drop database template1",
        ]);
        postgres.stop();
        directory
    }
}
