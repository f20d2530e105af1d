//! What `judge` answers: beside a second implementation, in the cases that other tools get wrong, and about branches.

mod branches;
mod defects;
mod oracle;
