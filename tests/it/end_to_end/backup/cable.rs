//! A connection to the API server that can be interrupted.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Carries connections until they are cut. Its threads end with those who use it.
pub(super) struct Cable {
    pub(super) port: u16,
    ends: Arc<Mutex<Vec<TcpStream>>>,
}

impl Cable {
    /// From a port of its own to this one, both on 127.0.0.1 of the network that it is called in.
    pub(super) fn lay(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ends: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let kept = Arc::clone(&ends);
        thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                carry(&near, &far);
                carry(&far, &near);
                kept.lock().unwrap().extend([near, far]);
            }
        });
        Self { port, ends }
    }

    /// Cuts all connections that there are. New ones can be made.
    pub(super) fn cut(&self) {
        for end in self.ends.lock().unwrap().drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

fn carry(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    thread::spawn(move || {
        let mut chunk = [0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut chunk) {
            if to.write_all(&chunk[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
