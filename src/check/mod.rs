//! Judges facts like the alert rules do, for monitoring that runs plugins: Icinga, Nagios, Zabbix, Sensu.
//!
//! Facts are the series of `/metrics`: of an exporter, or of one collection on this host. So both are judged alike, and the same
//! series that an alert stands on decide here. Pure: the caller passes facts and time.

pub mod facts;
pub mod judge;
pub mod limits;
pub mod output;
pub mod quantity;
pub mod range;
pub mod report;
pub mod services;
pub mod stanzas;
pub mod unit;
