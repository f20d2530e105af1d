//! The commands for Nagios, and what it tells of the services that use them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use pgbackrest_keeper::check::services;

use super::{Exporter, shipped};
use crate::support::machine::{monitoring, skip};
use crate::support::process::{Running, call, command, successful, wait_for};

const STATES: [&str; 4] = ["OK", "WARNING", "CRITICAL", "UNKNOWN"];

#[test]
fn nagios_runs_the_check_command() {
    let nagios = match monitoring("nagios4") {
        Ok(nagios) => nagios,
        Err(missing) => return skip("nagios_runs_the_check_command", missing),
    };
    let directory = tempfile::Builder::new().prefix("nagios-").tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::create_dir(path("spool")).unwrap();
    let exporter = Exporter::start(directory.path());
    fs::write(path("pgbackrest-keeper.cfg"), shipped("nagios/pgbackrest-keeper.cfg")).unwrap();
    fs::write(path("objects.cfg"), objects(&exporter.url)).unwrap();
    fs::write(path("nagios.cfg"), configuration(directory.path())).unwrap();
    let verified = successful(call(None, &nagios).arg("-v").arg(path("nagios.cfg")));
    // Both commands, and the one of the contact.
    assert!(verified.contains("Checked 3 commands."), "{verified}");
    assert!(verified.contains("Total Errors:   0"), "{verified}");
    let mut daemon = command(None, &nagios);
    daemon.arg(path("nagios.cfg"));
    let mut daemon = Running::start("nagios4", daemon, &path("nagios.out"), Signal::SIGTERM);
    for service in services::ALL {
        let told = wait_for(&format!("the state of {}", service.name), || {
            assert!(daemon.ended().is_none(), "{}", daemon.log());
            let status = fs::read_to_string(path("status.dat")).unwrap_or_default();
            let of_service = |told: &BTreeMap<String, String>| {
                told["service_description"] == service.name && told["has_been_checked"] == "1"
            };
            services_in(&status).into_iter().find(of_service)
        });
        let state = STATES[told["current_state"].parse::<usize>().unwrap()];
        exporter.assert_told(service.name, state, &told["plugin_output"], &told["performance_data"]);
    }
}

/// What the status file tells of each service.
fn services_in(status: &str) -> Vec<BTreeMap<String, String>> {
    let blocks = status.split("servicestatus {").skip(1).filter_map(|rest| Some(rest.split_once("\n\t}")?.0));
    let fields = |block: &str| {
        let lines = block.lines().filter_map(|line| line.trim().split_once('='));
        lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    blocks.map(fields).collect()
}

/// Everything in one directory, as whoever runs the tests.
fn configuration(directory: &Path) -> String {
    let id = |argument: &str| successful(Command::new("id").arg(argument)).trim().to_owned();
    let directory = directory.display();
    format!(
        "nagios_user={}\n\
         nagios_group={}\n\
         cfg_file={directory}/pgbackrest-keeper.cfg\n\
         cfg_file={directory}/objects.cfg\n\
         log_file={directory}/nagios.log\n\
         log_archive_path={directory}\n\
         object_cache_file={directory}/objects.cache\n\
         precached_object_file={directory}/objects.precache\n\
         status_file={directory}/status.dat\n\
         state_retention_file={directory}/retention.dat\n\
         temp_file={directory}/temporary\n\
         temp_path={directory}\n\
         check_result_path={directory}/spool\n\
         lock_file={directory}/lock\n\
         command_file={directory}/command\n\
         query_socket={directory}/query\n\
         check_external_commands=0\n\
         check_for_updates=0\n\
         execute_host_checks=0\n\
         enable_notifications=0\n\
         use_syslog=0\n\
         status_update_interval=1\n\
         service_inter_check_delay_method=n\n",
        id("-un"),
        id("-gn")
    )
}

/// A service for each of the plugin's, with the shipped command.
fn objects(url: &str) -> String {
    let days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let days = days.map(|day| format!("  {day} 00:00-24:00\n")).concat();
    let mut objects = format!(
        "define timeperiod {{\n  timeperiod_name always\n  alias always\n{days}}}\n\
         define command {{\n  command_name none\n  command_line /bin/true\n}}\n\
         define contact {{\n  contact_name dba\n  host_notification_period always\n  service_notification_period always\n  \
         host_notification_commands none\n  service_notification_commands none\n}}\n\
         define host {{\n  host_name db1\n  address 127.0.0.1\n  max_check_attempts 1\n  check_period always\n  \
         notification_period always\n  contacts dba\n}}\n"
    );
    for service in services::ALL {
        let name = service.name;
        write!(
            objects,
            "define service {{\n  host_name db1\n  service_description {name}\n  \
             check_command check_pgbackrest_keeper!{name}!{url}!-w full-age=8d -w size=~: --stanza=demo\n  check_interval 1\n  \
             retry_interval 1\n  max_check_attempts 1\n  check_period always\n  notification_period always\n  contacts dba\n}}\n"
        )
        .unwrap();
    }
    objects
}
