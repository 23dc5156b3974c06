//! Files under an address of their own, while they are being downloaded: this page's side of the service worker
//! (`www/service-worker.js`), which has no store and asks here for every response.
//!
//! `request` says what was asked for (`range`) and what the answer begins with; [`Service`] starts the service worker and
//! hears what is asked; an [`Outlet`] is one response. Where the bytes come from, and when, the driver decides.
//!
//! A response is pulled: the browser asks the service worker for more when it has room, that asks here, and one chunk is on
//! its way at a time. So nothing piles up, however slowly somebody watches.

mod outlet;
mod range;
mod request;
mod service;

pub use outlet::Outlet;
pub use request::{Head, Request, Subject};
pub use service::{Service, StreamEvent};
