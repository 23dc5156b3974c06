//! The page with made-up torrents in every state, for looking at its design without a tracker or peers.
//!
//! ```sh
//! out=target/gallery
//! cargo build -p web-peer --example gallery --target wasm32-unknown-unknown
//! wasm-bindgen --target web --no-typescript --out-dir $out \
//!     target/wasm32-unknown-unknown/debug/examples/gallery.wasm
//! cp www/style.css www/boot.js www/icon.svg $out
//! # The page's own index.html without Trunk: no main program, no files to copy, but this program.
//! sed -z -E -e 's#<link[^>]*rel="(rust|copy-file|manifest)"[^>]*>##g' -e 's#data-trunk ##g' \
//!     -e 's#rel="css"#rel="stylesheet"#' \
//!     -e 's#</body>#<script type="module">import init from "./gallery.js"; init();</script></body>#' \
//!     www/index.html > $out/index.html
//! ```
//!
//! Serve `target/gallery` over HTTP and open it with `?scene=empty`, `?scene=busy`, `?scene=links` (every way to a peer,
//! and trackers of every kind) or `?scene=trouble`; `lang=` works too.

use engine::{
    ByteCounts, PeerSnapshot, PieceCounts, Priority, Rates, State, TorrentSnapshot, Transport, WhyRelayed,
};
use leptos::prelude::{Set, signal_local};
use shared::InfoHash;
use wasm_bindgen::prelude::{Closure, JsCast, JsValue};
use web_peer::snapshot::{
    Alert, FileView, IceChoice, IceView, RateLimits, RtcView, Snapshot, StorageKind, StorageView,
    StreamingView, TorrentTrackerView, TorrentView, TrackerKind, TrackerState, TrackerView, TransportMode,
    Trouble, Waiting,
};

const MIB: u64 = 1 << 20;

fn main() {
    console_error_panic_hook::set_once();
    let Some(window) = web_sys::window() else { return };
    let query = window.location().search().unwrap_or_default();
    let scene = if query.contains("scene=busy") {
        busy
    } else if query.contains("scene=links") {
        links
    } else if query.contains("scene=trouble") {
        trouble
    } else {
        empty
    };
    let (snapshot, set_snapshot) = signal_local(scene(0));
    web_peer::ui::mount(snapshot, |command| {
        web_sys::console::log_1(&JsValue::from_str(&format!("{command:?}")));
    });
    let mut tick = 0;
    let step = Closure::<dyn FnMut()>::new(move || {
        tick += 1;
        set_snapshot.set(scene(tick));
    });
    // For the page's whole life.
    let _ = window
        .set_interval_with_callback_and_timeout_and_arguments_0(step.into_js_value().unchecked_ref(), 250);
}

fn empty(_: u64) -> Snapshot {
    Snapshot {
        tracker: TrackerView { url: "ws://localhost:8000/ws".into(), state: TrackerState::Connected },
        storage: StorageView { kind: StorageKind::Private, limit: None },
        peer_id: "2d".repeat(20),
        limits: RateLimits::default(),
        polite_upload: None,
        rtc: RtcView {
            available: true,
            mode: TransportMode::Auto,
            ice: IceView {
                urls: vec!["stun:stun.example.org:3478".into(), "stun:stun.example.net".into()],
                chosen_by: IceChoice::Usual,
            },
            open: 0,
            made: 0,
        },
        streaming: StreamingView::default(),
        torrents: Vec::new(),
        alerts: Vec::new(),
    }
}

fn busy(tick: u64) -> Snapshot {
    let grown = (tick * 2 * MIB + 900 * MIB).min(2_400 * MIB);
    let mut downloading =
        torrent(1, "Wikipédia – páginas em português (2026-06).zim", State::Downloading, 2_400 * MIB);
    downloading.torrent.bytes.verified = grown;
    downloading.torrent.bytes.uploaded = grown / 3;
    downloading.torrent.pieces = PieceCounts { total: 1_200, have: (grown / MIB / 2) as u32 };
    downloading.torrent.rates = Rates { down: 12_345_678.0 + tick as f64 * 1_000.0, up: 3_456_789.0 };
    downloading.torrent.peers = vec![
        peer(1, "Enxame 0.1.0", Transport::Direct, 1.0, (9.1e6, 0.0)),
        peer(2, "WebTorrent 3.0.21", Transport::Direct, 0.41, (2.2e6, 1.9e6)),
        relayed(peer(3, "Enxame 0.1.0", Transport::Relay, 0.08, (0.0, 1.5e6)), WhyRelayed::Trying),
    ];
    downloading.seconds_left = Some(127.0);

    let mut seeding = torrent(2, "Férias na praia", State::Seeding, 418 * MIB);
    seeding.files =
        ["a/IMG_0001.jpg", "a/IMG_0002.jpg", "vídeo longo com um nome que não cabe numa linha só.mp4"]
            .into_iter()
            .map(|path| file(path, 139 * MIB, 139 * MIB))
            .collect();
    seeding.torrent.bytes.downloaded = 0;
    seeding.torrent.rates.up = 820_000.0;
    seeding.torrent.bytes.uploaded = 1_900 * MIB;
    seeding.torrent.peers =
        vec![relayed(peer(4, "Enxame 0.1.0", Transport::Relay, 0.63, (0.0, 8.2e5)), WhyRelayed::NoPath)];

    let mut hashing = torrent(3, "backup.tar", State::Hashing, 9_000 * MIB);
    hashing.torrent.bytes.verified = (tick * 64 * MIB).min(9_000 * MIB);
    hashing.seconds_left = Some(11.0);
    hashing.torrent.info_hash = InfoHash::new([0; 20]);
    hashing.torrent.pieces = PieceCounts::default();
    hashing.files.clear();
    hashing.link.clear();
    hashing.trackers.clear();

    let mut metadata = torrent(4, "", State::Metadata, 0);
    metadata.files.clear();
    metadata.waiting = Some(Waiting::Peers);

    let mut waiting = torrent(5, "relatório.pdf", State::Seeding, 3 * MIB);
    waiting.torrent.bytes.downloaded = 0;

    let mut paused = torrent(6, "debian-13.0.0-amd64-netinst.iso", State::Paused, 700 * MIB);
    paused.torrent.bytes.verified = 233 * MIB;
    paused.torrent.pieces.have = 111;

    let done = torrent(7, "aula-03.mp4", State::Seeding, 88 * MIB);

    Snapshot { torrents: vec![done, paused, waiting, metadata, hashing, seeding, downloading], ..empty(tick) }
}

fn links(_: u64) -> Snapshot {
    let mut many = torrent(1, "debian-13.0.0-amd64-netinst.iso", State::Downloading, 700 * MIB);
    many.torrent.bytes.verified = 233 * MIB;
    many.torrent.pieces.have = 160;
    many.torrent.rates = Rates { down: 9.4e6, up: 2.1e6 };
    many.seconds_left = Some(52.0);
    let whys = [
        WhyRelayed::Trying,
        WhyRelayed::NoPath,
        WhyRelayed::NoAnswer,
        WhyRelayed::Lost,
        WhyRelayed::NotHere,
        WhyRelayed::SwitchedOff,
        WhyRelayed::NotThere,
        WhyRelayed::TooMany,
        WhyRelayed::Refused,
    ];
    many.torrent.peers = vec![
        peer(1, "Enxame 0.1.0", Transport::Direct, 1.0, (5.1e6, 0.0)),
        PeerSnapshot { introduced: true, ..peer(2, "Enxame 0.1.0", Transport::Direct, 0.7, (3.3e6, 1.2e6)) },
        PeerSnapshot {
            introduced: true,
            ..peer(
                3,
                "a client that goes by a rather long name, 12.34.56",
                Transport::Direct,
                0.2,
                (0.0, 0.0),
            )
        },
    ];
    let numbers = 4..;
    many.torrent.peers.extend(whys.into_iter().zip(numbers).map(|(why, number)| {
        relayed(peer(number, "Enxame 0.1.0", Transport::Relay, 0.3, (1.1e5, 1.0e5)), why)
    }));
    many.trackers = vec![
        tracker("ws://192.168.0.2:8000/ws", TrackerState::Connected, Some(TrackerKind::Enxame), (1, 12)),
        tracker(
            "wss://tracker.example.org/announce",
            TrackerState::Connected,
            Some(TrackerKind::WebTorrent),
            (1_204, 1),
        ),
        tracker("wss://tracker.example.net:7443/", TrackerState::Unreachable, None, (0, 0)),
        tracker("wss://slow.example.com/", TrackerState::Connecting, None, (0, 0)),
        TorrentTrackerView {
            failure: Some("info_hash is not on this tracker's list of allowed torrents".into()),
            ..tracker(
                "wss://a-tracker-whose-name-does-not-fit-into-a-narrow-window.private.example.com/x/announce",
                TrackerState::Connected,
                Some(TrackerKind::WebTorrent),
                (0, 0),
            )
        },
    ];
    let mut alone = torrent(2, "gravação.ogg", State::Metadata, 0);
    alone.files.clear();
    alone.waiting = Some(Waiting::Tracker);
    alone.trackers = vec![
        tracker("wss://tracker.example.org/announce", TrackerState::Unreachable, None, (0, 0)),
        tracker("wss://tracker.example.net:7443/", TrackerState::Unreachable, None, (0, 0)),
    ];
    let rtc = RtcView {
        ice: IceView {
            urls: vec![
                "stun:stun.example.org:3478".into(),
                "turns:turn.example.org:443?transport=tcp".into(),
            ],
            chosen_by: IceChoice::User,
        },
        open: 3,
        made: 17,
        ..empty(0).rtc
    };
    Snapshot { rtc, torrents: vec![alone, many], ..empty(0) }
}

fn trouble(_: u64) -> Snapshot {
    let mut full = torrent(1, "conjunto-de-dados.parquet", State::Error, 48_000 * MIB);
    full.torrent.bytes.verified = 31_000 * MIB;
    full.torrent.pieces.have = 300;
    full.trouble = Some(Trouble::DiskFull);
    let mut mismatch = torrent(2, "linux-7.0.tar.xz", State::Downloading, 150 * MIB);
    mismatch.torrent.bytes.verified = 12 * MIB;
    mismatch.torrent.pieces.have = 48;
    mismatch.trouble = Some(Trouble::HashMismatch { peer: "2d".into(), piece: 17 });
    mismatch.waiting = Some(Waiting::Tracker);
    for tracker in full.trackers.iter_mut().chain(&mut mismatch.trackers) {
        tracker.state = TrackerState::Unreachable;
    }
    let alerts = vec![
        Alert { id: 1, trouble: Trouble::NotATorrent { text: "olá mundo".into() } },
        Alert {
            id: 2,
            trouble: Trouble::BadMetainfo {
                name: "x.torrent".into(),
                detail: "bencode: unexpected end at byte 14".into(),
            },
        },
        Alert {
            id: 3,
            trouble: Trouble::BadIceServers {
                detail: "\"http://example.org\" is no ICE server's address: it begins neither with stun: or stuns: nor \
                         with turn: or turns: (for example stun:stun.example.org:3478)"
                    .into(),
            },
        },
    ];
    Snapshot {
        tracker: TrackerView { url: "ws://localhost:8000/ws".into(), state: TrackerState::Unreachable },
        storage: StorageView { kind: StorageKind::Memory, limit: Some(1_024 * MIB) },
        peer_id: String::new(),
        limits: RateLimits::default(),
        polite_upload: None,
        rtc: RtcView { mode: TransportMode::Relay, ..empty(0).rtc },
        streaming: StreamingView::default(),
        torrents: vec![full, mismatch],
        alerts,
    }
}

fn file(path: &str, verified: u64, length: u64) -> FileView {
    FileView { path: path.into(), length, verified, priority: Priority::Normal }
}

fn torrent(key: u32, name: &str, state: State, total: u64) -> TorrentView {
    let hash = InfoHash::new([(key as u8).wrapping_mul(37); 20]);
    TorrentView {
        key,
        torrent: TorrentSnapshot {
            info_hash: hash,
            name: name.into(),
            state,
            bytes: ByteCounts { total, verified: total, downloaded: total, uploaded: 0 },
            rates: Rates::default(),
            pieces: PieceCounts { total: 480, have: 480 },
            peers: Vec::new(),
        },
        files: vec![file(name, total, total)],
        trackers: vec![tracker(
            "ws://localhost:8000/ws",
            TrackerState::Connected,
            Some(TrackerKind::Enxame),
            (1, 2),
        )],
        link: format!("http://localhost:8000/#{hash}"),
        magnet: format!("magnet:?xt=urn:btih:{hash}"),
        piece_states: Vec::new(),
        sequential: false,
        limits: RateLimits::default(),
        super_seeding: false,
        banned: Vec::new(),
        waiting: None,
        trouble: None,
        saving: None,
        seconds_left: None,
    }
}

fn tracker(
    url: &str,
    state: TrackerState,
    kind: Option<TrackerKind>,
    (complete, incomplete): (u32, u32),
) -> TorrentTrackerView {
    let own = url.starts_with("ws:");
    TorrentTrackerView { url: url.into(), state, own, kind, complete, incomplete, failure: None }
}

fn relayed(peer: PeerSnapshot, why: WhyRelayed) -> PeerSnapshot {
    PeerSnapshot { why_relayed: Some(why), ..peer }
}

fn peer(
    number: u8,
    client: &str,
    transport: Transport,
    progress: f64,
    (down, up): (f64, f64),
) -> PeerSnapshot {
    PeerSnapshot {
        id: format!("{number:040x}"),
        client: client.into(),
        transport,
        why_relayed: None,
        introduced: false,
        am_choking: up == 0.0,
        am_interested: down > 0.0,
        peer_choking: down == 0.0,
        peer_interested: up > 0.0,
        snubbed: false,
        optimistic: false,
        progress,
        rates: Rates { down, up },
        downloaded: 0,
        uploaded: 0,
    }
}
