//! Both kinds of dedicated worker in one script; the name that the page gives one says which it is.

use web_peer::{dedicated, store, verify};

fn main() {
    match dedicated::role().as_deref() {
        Some(store::ROLE) => store::serve(),
        Some(verify::ROLE) => verify::serve(),
        _ => {}
    }
}
