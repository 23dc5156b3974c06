//! One peer in a browser tab: the browser around the engine.
//!
//! In reading order, which is the data's path:
//! - [`intake`]: chosen files become a torrent (chunked, hashed by [`verify`]'s workers);
//! - [`driver`]: the one place that touches both the engine and the browser;
//! - [`transport`]: the tracker's socket and the relay channels inside it;
//! - [`store`]: the storage worker, which verifies, keeps and reads pieces;
//! - [`stream`]: files under an address, while they come, through the service worker;
//! - [`save`]: a finished torrent becomes files again;
//! - [`handles`]: how files that are seeded from disk are found again after a reload;
//! - [`ui`]: shows a [`snapshot`] and sends [`command`]s.
//!
//! Below them: [`dedicated`] starts workers and carries messages, [`digest`] is SHA-1 inside them, [`buffers`] are what
//! bytes travel in, `clock` is the time of day, [`journal`] is what happened to a torrent, [`media`] says what a file is by its name, [`metered`] whether bytes are dear; [`picker`] asks for files and folders; `kept` is what the browser keeps in a few words; [`recorded`] reads
//! snapshots that were written down, for looking at the page without any of the above.
//!
//! `transport`, `store`, `verify`, `stream` and `ui` never import each other.

mod browser_error;
pub mod buffers;
mod clock;
pub mod command;
pub mod dedicated;
pub mod digest;
pub mod driver;
pub mod handles;
pub mod intake;
pub mod journal;
mod kept;
pub mod media;
pub mod metered;
pub mod page;
pub mod picker;
pub mod recorded;
pub mod save;
pub mod snapshot;
pub mod store;
pub mod stream;
pub mod transport;
pub mod ui;
pub mod verify;
