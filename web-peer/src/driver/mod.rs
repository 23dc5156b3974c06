//! The one place that touches both the engine and the browser.
//!
//! Everything that happens (a command, a message, an answer of the store, a deadline) becomes an [`Event`] in one
//! queue. The loop in [`run`] takes events out, hands them to the [`Peer`], which tells the engine, drains the
//! engine's actions and performs them. Callbacks elsewhere only translate and enqueue.
//!
//! The queue has no bound of its own, because what fills it has: relay frames by the credit that is given only when
//! they are taken out, a data channel's messages by the browser, which takes turns between them and the loop (`turn`), the
//! store's answers by the questions asked, commands by the user's hands.
//!
//! No byte waits for a timer but those of a limit, and what the engine must guess of a relay's buffer; in a hidden tab, whose
//! timers the browser slows down, a worker keeps those deadlines (`alarm`), so it transfers like a visible one.

mod actions;
mod alarm;
mod announcer;
mod attempt;
mod checking;
mod commands;
mod direct;
mod files;
mod history;
mod journaling;
mod links;
mod peer;
mod returning;
mod saving;
mod storage;
mod streaming;
mod torrent;
mod totals;
mod tracker;
mod trackers;
mod turn;
mod unlisted;
mod visits;
mod wishes;

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use engine::{LoadId, Time};
use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::{Either, select};
use shared::signal::IceServer;
use shared::{PeerId, PieceIndex};
use wasm_bindgen_futures::spawn_local;

use crate::command::Command;
use crate::intake::{Intake, IntakeError};
use crate::metered;
use crate::snapshot::{
    IceView, RateLimits, RtcView, SavingView, Snapshot, StorageKind, StorageView, StreamingView,
    TrackerState, TrackerView, TransportMode,
};
use crate::store::{LoadError, Remembered, Store, StoreError, Verdict, Zip};
use crate::stream::{Outlet, StreamEvent};
use crate::transport::rtc::{RtcEvent, RtcId, RtcLinks};
use crate::transport::socket::SocketEvent;
use alarm::{Alarm, now};
use attempt::Return;
pub(crate) use commands::ICE_KEY;
use peer::Peer;
use streaming::Chunk;
use trackers::TrackerId;
use turn::Turn;
pub(crate) use wishes::LIMITS_KEY;

/// Shortest time between two snapshots for the user interface.
const SNAPSHOT_INTERVAL: Duration = Duration::from_millis(250);
/// Events handled before the actions they caused are performed: enough to batch, few enough to answer soon.
const BATCH: usize = 32;

/// What the page was opened with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The tracker's address, `ws://…` or `wss://…`.
    pub tracker: String,
    /// The address names it, and it is not the page's own: whoever wrote the link chose it, which need not be the user.
    pub tracker_is_foreign: bool,
    /// The ways that peers may be reached.
    pub transport: TransportMode,
    /// The ICE servers that the user chose; `None` leaves it to the tracker.
    pub ice: Option<Vec<IceServer>>,
    /// How fast all torrents together may go.
    pub limits: RateLimits,
    /// The page's address without a fragment; a torrent's link is this, `#`, and its hash.
    pub page_address: String,
    /// Who this tab is.
    pub peer_id: PeerId,
    /// The secret by which the tracker knows this tab after a lost connection.
    pub key: String,
    /// The seed of all randomness.
    pub seed: u64,
}

/// Everything that happens to the peer.
pub(crate) enum Event {
    Command(Command),
    /// From this tracker's socket with this number; older sockets' last words are not heard.
    Socket(TrackerId, u32, SocketEvent),
    Rtc(RtcId, RtcEvent),
    NetworkIsBack,
    /// Whether the connection is metered.
    Metered(bool),
    StoreReady(Store, Vec<Remembered>),
    HashingProgress {
        key: u32,
        done: u64,
        total: u64,
    },
    Hashed {
        key: u32,
        result: Result<Intake, IntakeError>,
    },
    Attached {
        key: u32,
        intake: Intake,
        result: Result<(), StoreError>,
    },
    /// From the attempt with this number to bring a torrent's files back; those that are over are not heard.
    Return {
        key: u32,
        attempt: u32,
        news: Return,
    },
    TorrentFile {
        name: String,
        content: Result<Bytes, String>,
    },
    StoreOpened {
        key: u32,
        result: Result<Vec<bool>, StoreError>,
    },
    Stored {
        key: u32,
        piece: PieceIndex,
        verdict: Verdict,
    },
    Loaded {
        key: u32,
        load: LoadId,
        result: Result<Bytes, LoadError>,
    },
    /// Whether a piece that was read again is right.
    Checked {
        key: u32,
        piece: PieceIndex,
        result: Result<bool, LoadError>,
    },
    SaveFailed {
        key: u32,
        error: StoreError,
    },
    /// So many of the torrent's files are in the folder that was chosen.
    Saved {
        key: u32,
        saving: SavingView,
    },
    Stream(StreamEvent),
    ZipBegun {
        key: u32,
        number: u64,
        zip: Zip,
        outlet: Outlet,
        name: String,
    },
    /// For the response with this number.
    Chunk {
        number: u64,
        chunk: Chunk,
    },
}

/// The way to the driver: commands in, the state out.
#[derive(Clone)]
pub struct Handle {
    events: mpsc::UnboundedSender<Event>,
    peer: Rc<RefCell<Peer>>,
}

impl Handle {
    /// Asks for something; what comes of it is seen in the next snapshots.
    pub fn send(&self, command: Command) {
        // The loop ends only with the page.
        let _ = self.events.unbounded_send(Event::Command(command));
    }

    /// The browser says that the network is back: try the tracker at once.
    pub fn network_is_back(&self) {
        let _ = self.events.unbounded_send(Event::NetworkIsBack);
    }

    /// The browser may know anew whether the connection is metered.
    pub fn connection_changed(&self) {
        let _ = self.events.unbounded_send(Event::Metered(metered::is_metered()));
    }

    /// The state at this moment.
    pub fn snapshot(&self) -> Snapshot {
        self.peer.borrow().snapshot(now())
    }
}

/// What is shown before anything has happened.
pub fn first_snapshot(settings: &Settings) -> Snapshot {
    Snapshot {
        peer_id: settings.peer_id.to_string(),
        limits: settings.limits,
        polite_upload: None,
        tracker: TrackerView { url: settings.tracker.clone(), state: TrackerState::Connecting },
        storage: StorageView { kind: StorageKind::Opening, limit: None },
        rtc: RtcView {
            available: RtcLinks::is_available(),
            mode: settings.transport,
            ice: IceView::default(),
            open: 0,
            made: 0,
        },
        streaming: StreamingView::default(),
        torrents: Vec::new(),
        unlisted: Vec::new(),
        alerts: Vec::new(),
        invitations: Vec::new(),
    }
}

/// Starts the peer. `publish` is called with each new snapshot.
pub fn start(settings: Settings, publish: impl Fn(Snapshot) + 'static) -> Handle {
    let (sender, events) = mpsc::unbounded();
    let peer = Rc::new(RefCell::new(Peer::new(settings, sender.clone())));
    let handle = Handle { events: sender.clone(), peer: Rc::clone(&peer) };
    spawn_local(async move {
        let store = Store::open().await;
        let remembered = store.remembered().await;
        let _ = sender.unbounded_send(Event::StoreReady(store, remembered));
    });
    spawn_local(run(peer, events, publish));
    handle
}

/// The loop: wait for an event or a deadline, tell the peer, show what became of it.
async fn run(
    peer: Rc<RefCell<Peer>>,
    mut events: mpsc::UnboundedReceiver<Event>,
    publish: impl Fn(Snapshot),
) {
    peer.borrow_mut().connect_own(now());
    peer.borrow_mut().start_streaming();
    let mut published = Time::default();
    let mut alarm = Alarm::default();
    let mut turn = Turn::new();
    loop {
        let mut deadline = peer.borrow().deadline();
        if peer.borrow().is_changed() {
            let due = published + SNAPSHOT_INTERVAL;
            deadline = Some(deadline.map_or(due, |deadline| deadline.min(due)));
        }
        match select(events.next(), pin!(alarm.until(deadline))).await {
            Either::Left((None, _)) => return,
            Either::Left((Some(event), _)) => {
                let mut peer = peer.borrow_mut();
                // One moment for all of them: they take a few milliseconds at most.
                let now = now();
                peer.handle(now, event);
                let mut handled = 1;
                while handled < BATCH
                    && !turn.is_over()
                    && let Ok(event) = events.try_recv()
                {
                    peer.handle(now, event);
                    handled += 1;
                }
            }
            Either::Right(_) => {}
        }
        let time = now();
        peer.borrow_mut().handle_deadlines(time);
        let is_due = peer.borrow().is_changed() && time.since(published) >= SNAPSHOT_INTERVAL;
        if is_due || turn.is_over() {
            turn.pass().await;
        }
        if is_due {
            let time = now();
            published = time;
            // Let go of before it is shown: the user interface may look at the state while it updates.
            let snapshot = peer.borrow_mut().take_snapshot(time);
            publish(snapshot);
            turn.pass().await;
        }
    }
}
