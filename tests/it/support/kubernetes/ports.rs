//! Ports that are chosen before they are bound.

use std::fs;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

use parking_lot::Mutex;

/// How far below the ephemeral ports to look.
const RANGE: u16 = 12_000;

/// A free port of 127.0.0.1 for a server that has to be told which, and that may be stopped and started on it again.
///
/// It lies below those that the kernel hands out, so that nobody gets it meanwhile who asks for any port.
pub(crate) fn free_port() -> u16 {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let _turn = ONE_AT_A_TIME.lock();
    let ephemeral = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let first: u16 = ephemeral.split_whitespace().next().unwrap().parse().unwrap();
    let range = RANGE.min(first - 2_000);
    // Test programs that run side by side begin in different places, which are apart even if the programs start together.
    let start = u16::try_from(std::process::id().wrapping_mul(211) % u32::from(range)).unwrap();
    for _ in 0..range {
        let offset = (u32::from(start) + u32::from(TRIED.fetch_add(1, Ordering::Relaxed))) % u32::from(range);
        let port = first - 1 - u16::try_from(offset).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port below {first}");
}
