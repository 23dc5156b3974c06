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
//! Serve `target/gallery` over HTTP and open it with `?scene=empty`, `?scene=busy` or `?scene=trouble`; `lang=`
//! works too.

use engine::{ByteCounts, PeerSnapshot, PieceCounts, Rates, State, TorrentSnapshot, Transport};
use leptos::prelude::{Set, signal_local};
use shared::InfoHash;
use wasm_bindgen::prelude::{Closure, JsCast, JsValue};
use web_peer::snapshot::{
    Alert, FileView, Snapshot, StorageKind, StorageView, TorrentView, TrackerState, TrackerView, Trouble,
    Waiting,
};

const MIB: u64 = 1 << 20;

fn main() {
    console_error_panic_hook::set_once();
    let Some(window) = web_sys::window() else { return };
    let query = window.location().search().unwrap_or_default();
    let scene = if query.contains("scene=busy") {
        busy
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
        peer(3, "Enxame 0.1.0", Transport::Relay, 0.08, (0.0, 1.5e6)),
    ];
    downloading.seconds_left = Some(127.0);

    let mut seeding = torrent(2, "Férias na praia", State::Seeding, 418 * MIB);
    seeding.files =
        ["a/IMG_0001.jpg", "a/IMG_0002.jpg", "vídeo longo com um nome que não cabe numa linha só.mp4"]
            .into_iter()
            .map(|path| FileView { path: path.into(), length: 139 * MIB })
            .collect();
    seeding.torrent.bytes.downloaded = 0;
    seeding.torrent.rates.up = 820_000.0;
    seeding.torrent.bytes.uploaded = 1_900 * MIB;
    seeding.torrent.peers = vec![peer(4, "Enxame 0.1.0", Transport::Relay, 0.63, (0.0, 8.2e5))];

    let mut hashing = torrent(3, "backup.tar", State::Hashing, 9_000 * MIB);
    hashing.torrent.bytes.verified = (tick * 64 * MIB).min(9_000 * MIB);
    hashing.seconds_left = Some(11.0);
    hashing.torrent.info_hash = InfoHash::new([0; 20]);
    hashing.torrent.pieces = PieceCounts::default();
    hashing.files.clear();
    hashing.link.clear();

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
    let alerts = vec![
        Alert { id: 1, trouble: Trouble::NotATorrent { text: "olá mundo".into() } },
        Alert {
            id: 2,
            trouble: Trouble::BadMetainfo {
                name: "x.torrent".into(),
                detail: "bencode: unexpected end at byte 14".into(),
            },
        },
    ];
    Snapshot {
        tracker: TrackerView { url: "ws://localhost:8000/ws".into(), state: TrackerState::Unreachable },
        storage: StorageView { kind: StorageKind::Memory, limit: Some(1_024 * MIB) },
        torrents: vec![full, mismatch],
        alerts,
    }
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
        files: vec![FileView { path: name.into(), length: total }],
        link: format!("http://localhost:8000/#{hash}"),
        magnet: format!("magnet:?xt=urn:btih:{hash}"),
        waiting: None,
        trouble: None,
        seconds_left: None,
    }
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
        am_choking: up == 0.0,
        am_interested: down > 0.0,
        peer_choking: down == 0.0,
        peer_interested: up > 0.0,
        progress,
        rates: Rates { down, up },
        downloaded: 0,
        uploaded: 0,
    }
}
