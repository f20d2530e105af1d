//! `restore-test` on real PostgreSQL with pgBackRest 2.45 and the newest: what passes, what fails with which reason, and that nothing
//! else is touched.

pub(crate) mod failing;
pub(crate) mod harmless;
pub(crate) mod in_pod;
pub(crate) mod interrupted;
pub(crate) mod passing;
pub(crate) mod shown;
pub(crate) mod trial;
