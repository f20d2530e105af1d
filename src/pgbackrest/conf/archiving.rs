//! Options of `archive-push` on the PostgreSQL host.

use super::option::Name;
use super::{Conf, ConfError, Section, Value, value};

/// The command whose section applies.
const COMMAND: &str = "archive-push";

/// How a cluster on this host archives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archiving {
    /// `pg1-path`: the data directory.
    pub pg_path: String,
    /// `spool-path`, if it is set.
    pub spool_path: Option<String>,
    /// `archive-push-queue-max`, bytes: WAL is dropped if more than this is waiting.
    pub queue_max: Option<u64>,
}

impl Conf {
    /// How the stanza's cluster archives from this host: the cluster with the lowest number, as in `archive-push`. None if it has a
    /// `pgN-host`.
    ///
    /// # Errors
    /// An option that pgBackRest would reject.
    pub fn archiving(&self, stanza: &str) -> Result<Option<Archiving>, ConfError> {
        let sections: Vec<&Section> = self.visible(Some(stanza), COMMAND).collect();
        let names = sections.iter().flat_map(|section| section.options.keys());
        let Some(key) = names.filter(|(_, name)| *name == Name::PgPath).map(|(key, _)| *key).min() else {
            return Ok(None);
        };
        if value(&sections, key, Name::PgHost).is_some() {
            return Ok(None);
        }
        let text = |key, name| value(&sections, key, name).map(Value::text).transpose();
        let Some(pg_path) = text(key, Name::PgPath)? else { return Ok(None) };
        Ok(Some(Archiving {
            pg_path,
            spool_path: text(0, Name::SpoolPath)?,
            queue_max: value(&sections, 0, Name::ArchivePushQueueMax).map(Value::size).transpose()?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archiving(text: &str) -> Result<Option<Archiving>, String> {
        let conf = Conf::parse(&[("pgbackrest.conf", text)]).unwrap();
        conf.archiving("demo").map_err(|error| error.to_string())
    }

    fn of(pg_path: &str, spool_path: Option<&str>, queue_max: Option<u64>) -> Archiving {
        let spool_path = spool_path.map(str::to_owned);
        Archiving { pg_path: pg_path.to_owned(), spool_path, queue_max }
    }

    #[test]
    fn the_lowest_cluster_archives_if_it_is_here() {
        assert_eq!(archiving("[demo]\npg1-path=/data\n"), Ok(Some(of("/data", None, None))));
        assert_eq!(archiving("[demo]\npg3-path=/three\npg2-path=/two\n"), Ok(Some(of("/two", None, None))));
        assert_eq!(archiving("[demo]\ndb-path=/old\n"), Ok(Some(of("/old", None, None))));
        assert_eq!(
            archiving("[global]\npg1-path=/data\n[demo]\npg1-port=1\n"),
            Ok(Some(of("/data", None, None)))
        );
        assert_eq!(archiving("[demo]\npg1-path=/data\npg1-host=far\npg2-path=/two\n"), Ok(None));
        assert_eq!(archiving("[demo]\npg1-path=/data\n[global]\npg1-host=far\n"), Ok(None));
        assert_eq!(archiving("[other]\npg1-path=/data\npg-path=/x\npg0-path=/y\n"), Ok(None));
    }

    #[test]
    fn sections_of_the_stanza_and_the_command_come_first() {
        let text = "[global]\nspool-path=/spool\narchive-push-queue-max=1GB\n[demo]\npg1-path=/data\nspool-path=/own\n\
                    [demo:archive-push]\narchive-push-queue-max=2 GiB\n[global:archive-get]\narchive-push-queue-max=1\n";
        let refused = archiving(text).unwrap_err();
        assert!(refused.contains("archive-push-queue-max is '…'; it must be a size"), "{refused}");
        assert_eq!(
            archiving(&text.replace("2 GiB", "2GiB")),
            Ok(Some(of("/data", Some("/own"), Some(2 << 30))))
        );
        assert_eq!(
            archiving(&text.replace("[demo:archive-push]\narchive-push-queue-max=2 GiB\n", "")),
            Ok(Some(of("/data", Some("/own"), Some(1 << 30))))
        );
    }

    #[test]
    fn sizes_are_read_as_pgbackrest_reads_them() {
        for (text, expected) in [
            ("0", 0),
            ("123", 123),
            ("5b", 5),
            ("5K", 5 << 10),
            ("5kB", 5 << 10),
            ("5KiB", 5 << 10),
            ("16MB", 16 << 20),
            ("2g", 2 << 30),
            ("1TiB", 1 << 40),
            ("4PiB", 4 << 50),
        ] {
            let text = format!("[demo]\npg1-path=/data\narchive-queue-max={text}\n");
            assert_eq!(archiving(&text), Ok(Some(of("/data", None, Some(expected)))), "{text}");
        }
        for text in ["x", "-1", "1.5GB", "5kk", "999999999999PiB", "99999999999999999999"] {
            let text = format!("[demo]\npg1-path=/data\narchive-queue-max={text}\n");
            assert!(archiving(&text).is_err(), "{text}");
        }
    }
}
