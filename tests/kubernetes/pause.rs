//! The process that holds a pod's namespaces, in an image of its own. It has nothing to do until it is killed.

fn main() {
    loop {
        std::thread::park();
    }
}
