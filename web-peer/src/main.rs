//! The page: starts the peer and shows it. Everything is in the library.

fn main() {
    web_peer::page::start();
}
