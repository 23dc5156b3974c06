//! The page, and both kinds of dedicated worker: they run the same program, which is loaded and compiled once. The name that the
//! page gives a worker says which one it is. Everything is in the library.

use web_peer::{dedicated, page, store, verify};

fn main() {
    match dedicated::role().as_deref() {
        None => page::start(),
        Some(store::ROLE) => store::serve(),
        Some(verify::ROLE) => verify::serve(),
        Some(_) => {}
    }
}
