//! What is said, apart from how: the key of a sentence in the catalogue and what goes into it. Every decision about
//! words (which sentence a state, a wait or a failure gets) is here, without a browser, so it is tested natively.

use engine::{PeerSnapshot, Priority, State, Transport, WhyRelayed};
use shared::limits::{MAX_TRACKER_URL_BYTES, MAX_TRACKERS};

use crate::journal::Who;
use crate::snapshot::{
    BannedView, IceChoice, RtcView, StorageKind, TorrentView, TrackerKind, TrackerState, TransportMode,
    Trouble, Waiting,
};

/// A sentence of the catalogue (`www/locales/`) with what goes into it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Phrase {
    /// Key in the catalogue; for a counted phrase the part before `.one` and `.other`.
    pub(super) key: &'static str,
    /// Fills `%{name}`.
    pub(super) args: Vec<(&'static str, Value)>,
    /// Decides the plural.
    pub(super) count: Option<u64>,
}

/// What goes into a sentence.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Words of others, or of the user's: a name, an address. They read in a direction of their own.
    Text(String),
    /// What the page has put into words already.
    Said(String),
    /// A count of bytes.
    Bytes(u64),
    /// A count of anything else.
    Count(u64),
    /// A share, 0 to 1, shown in percent.
    Share(f64),
    /// How many times as much.
    Ratio(f64),
    /// Bytes a second.
    Rate(u64),
    /// Seconds.
    Seconds(u64),
    /// Another sentence of the catalogue.
    Word(&'static str),
    /// A peer: its program, and a few digits of its id.
    Who(Who),
}

impl Phrase {
    /// A sentence with nothing to fill in.
    pub(super) fn plain(key: &'static str) -> Self {
        Self { key, args: Vec::new(), count: None }
    }

    /// A sentence about so many; `%{count}` stands for the number.
    pub(super) fn counted(key: &'static str, count: u64) -> Self {
        Self { key, args: vec![("count", Value::Count(count))], count: Some(count) }
    }

    /// The same, with one more thing to fill in.
    pub(super) fn with(mut self, name: &'static str, value: Value) -> Self {
        self.args.push((name, value));
        self
    }

    /// The same, with a text of others to fill in.
    pub(super) fn text(self, name: &'static str, text: &str) -> Self {
        self.with(name, Value::Text(text.to_owned()))
    }
}

/// What a torrent is doing.
pub(super) fn state(view: &TorrentView) -> Phrase {
    Phrase::plain(match view.torrent.state {
        _ if view.needs_files() => "state.needs_files",
        State::Seeding if view.upload_off && !view.wants_nothing() => "state.upload_off",
        State::Seeding if view.wants_nothing() => "state.nothing_chosen",
        State::Seeding if view.is_complete_in_part() => "state.chosen",
        State::Hashing => "state.hashing",
        State::Metadata => "state.metadata",
        State::Downloading => "state.downloading",
        State::Seeding => "state.seeding",
        State::Paused => "state.paused",
        State::Error => "state.error",
    })
}

/// The word for `data-state`.
pub(super) fn state_name(state: State) -> &'static str {
    match state {
        State::Hashing => "hashing",
        State::Metadata => "metadata",
        State::Downloading => "downloading",
        State::Seeding => "seeding",
        State::Paused => "paused",
        State::Error => "error",
    }
}

/// What a torrent that does not move waits for. What is wrong with it says more, and paused torrents wait for the
/// user alone.
pub(super) fn waiting(view: &TorrentView) -> Option<Phrase> {
    let state = view.torrent.state;
    if matches!(state, State::Hashing | State::Paused | State::Error) && !view.needs_files() {
        return None;
    }
    // Not stuck, but somebody who has just dropped a file wants to know what comes next.
    let bytes = view.torrent.bytes;
    let unshared = state == State::Seeding
        && !view.is_complete_in_part()
        && view.peers().is_empty()
        && bytes.uploaded == 0
        && bytes.downloaded == 0;
    let waiting = view.waiting.or_else(|| unshared.then_some(Waiting::Peers))?;
    Some(Phrase::plain(match waiting {
        // The first attempts are under way: nothing is out of reach yet.
        Waiting::Tracker if view.trackers.iter().any(|tracker| tracker.state == TrackerState::Connecting) => {
            "tracker.connecting"
        }
        Waiting::Tracker if view.trackers.len() > 1 => "waiting.trackers",
        Waiting::Tracker => "waiting.tracker",
        Waiting::Peers if state == State::Seeding && view.upload_off => "waiting.upload_off",
        Waiting::Peers if state == State::Seeding => "waiting.peers_seeding",
        Waiting::Peers => "waiting.peers",
        Waiting::Metadata => "waiting.metadata",
        Waiting::Pieces => "waiting.pieces",
        Waiting::Files => "waiting.files",
        Waiting::Permission => "waiting.permission",
    }))
}

/// How many pieces are here; nothing before that is known.
pub(super) fn pieces(view: &TorrentView) -> Option<Phrase> {
    let pieces = view.torrent.pieces;
    if pieces.total == 0 || matches!(view.torrent.state, State::Hashing | State::Metadata) {
        return None;
    }
    Some(if pieces.have == pieces.total {
        Phrase::counted("pieces.count", pieces.total.into())
    } else {
        Phrase::plain("torrent.pieces")
            .with("have", Value::Count(pieces.have.into()))
            .with("total", Value::Count(pieces.total.into()))
    })
}

/// How much a file is wanted, in a word or two.
pub(super) fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::Skip => "files.skip",
        Priority::Normal => "files.normal",
        Priority::High => "files.high",
    }
}

/// The word for `data-priority`.
pub(super) fn priority_name(priority: Priority) -> &'static str {
    match priority {
        Priority::Skip => "skip",
        Priority::Normal => "normal",
        Priority::High => "high",
    }
}

/// What such a word says.
pub(super) fn priority_of(name: &str) -> Option<Priority> {
    [Priority::Skip, Priority::Normal, Priority::High].into_iter().find(|of| priority_name(*of) == name)
}

/// What the user set otherwise than it is of itself.
pub(super) fn unusual(view: &TorrentView) -> impl Iterator<Item = &'static str> {
    let limited = view.limits.up.is_some() || view.limits.down.is_some();
    let sequential = view.sequential && view.torrent.pieces.have < view.torrent.pieces.total;
    let words = [
        view.limits.upload_off.then_some("options.upload_off"),
        limited.then_some("options.limited"),
        sequential.then_some("options.in_order"),
    ];
    words.into_iter().flatten()
}

/// What came of the last check.
pub(super) fn checked(view: &TorrentView) -> Option<Phrase> {
    Some(match view.checked? {
        0 => Phrase::plain("checking.right"),
        wrong => Phrase::counted("checking.wrong", wrong.into()),
    })
}

/// Why a peer is banned.
pub(super) fn banned(banned: &BannedView) -> Phrase {
    let phrase = match banned.client.as_str() {
        "" => Phrase::plain("banned.nameless"),
        client => Phrase::plain("banned.named").text("client", client),
    };
    // Pieces are numbered from zero on the wire, from one for people.
    phrase.with("piece", Value::Count(u64::from(banned.piece) + 1))
}

/// What was exchanged with a peer since it was linked; nothing when that is nothing.
pub(super) fn given(peer: &PeerSnapshot) -> Option<Phrase> {
    let phrase = || {
        Phrase::plain("peers.given")
            .with("down", Value::Bytes(peer.downloaded))
            .with("up", Value::Bytes(peer.uploaded))
    };
    (peer.downloaded > 0 || peer.uploaded > 0).then(phrase)
}

/// What is wrong, in one plain sentence.
pub(super) fn trouble(trouble: &Trouble) -> Phrase {
    match trouble {
        Trouble::NotATorrent { text } => Phrase::plain("trouble.not_a_torrent").text("text", text),
        Trouble::BadMetainfo { name, .. } => Phrase::plain("trouble.bad_metainfo").text("name", name),
        Trouble::AlreadyAdded { name } => Phrase::plain("trouble.already_added").text("name", name),
        Trouble::FileUnreadable { name } => Phrase::plain("trouble.file_unreadable").text("name", name),
        Trouble::FileChanged { name } => Phrase::plain("trouble.file_changed").text("name", name),
        Trouble::NothingToSeed => Phrase::plain("trouble.nothing_to_seed"),
        Trouble::HashMismatch { peer, piece } => {
            let key = if peer.is_empty() { "trouble.hash_mismatch_unknown" } else { "trouble.hash_mismatch" };
            // Pieces are numbered from zero on the wire, from one for people.
            Phrase::plain(key).with("piece", Value::Count(u64::from(*piece) + 1))
        }
        Trouble::DiskFull => Phrase::plain("trouble.disk_full"),
        Trouble::TooLargeForMemory { total, limit } => Phrase::plain("trouble.too_large")
            .with("total", Value::Bytes(*total))
            .with("limit", Value::Bytes(*limit)),
        Trouble::StoreFailed { .. } => Phrase::plain("trouble.store_failed"),
        Trouble::BadIceServers { .. } => Phrase::plain("trouble.bad_ice_servers"),
        Trouble::SaveFailed { .. } => Phrase::plain("trouble.save_failed"),
    }
}

/// The technical words that come with a trouble, for those who want to know.
pub(super) fn trouble_detail(trouble: &Trouble) -> Option<&str> {
    match trouble {
        Trouble::BadMetainfo { detail, .. }
        | Trouble::StoreFailed { detail }
        | Trouble::BadIceServers { detail }
        | Trouble::SaveFailed { detail } => Some(detail.as_str()).filter(|detail| !detail.is_empty()),
        _ => None,
    }
}

/// Whether the tracker can be reached.
pub(super) fn tracker(state: TrackerState) -> Phrase {
    Phrase::plain(match state {
        TrackerState::Connecting => "tracker.connecting",
        TrackerState::Connected => "tracker.connected",
        TrackerState::Unreachable => "tracker.unreachable",
    })
}

/// The word for the tracker's `data-state`.
pub(super) fn tracker_name(state: TrackerState) -> &'static str {
    match state {
        TrackerState::Connecting => "connecting",
        TrackerState::Connected => "connected",
        TrackerState::Unreachable => "unreachable",
    }
}

/// Whether one tracker of a torrent can be reached, in a word or two.
pub(super) fn torrent_tracker(state: TrackerState) -> &'static str {
    match state {
        TrackerState::Connecting => "trackers.connecting",
        TrackerState::Connected => "trackers.connected",
        TrackerState::Unreachable => "trackers.unreachable",
    }
}

/// What a tracker does for peers.
pub(super) fn tracker_kind(kind: TrackerKind) -> &'static str {
    match kind {
        TrackerKind::Enxame => "trackers.relays",
        TrackerKind::WebTorrent => "trackers.introduces",
    }
}

/// The host of an address, with its port where it names one: what people know a tracker by.
pub(super) fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // Who logs in there is nobody's business (RFC 3986, section 3.2.1).
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.is_empty() { url } else { host }
}

/// Where downloads are kept. Memory has a warning of its own.
pub(super) fn storage(kind: StorageKind) -> Option<Phrase> {
    match kind {
        StorageKind::Opening => Some(Phrase::plain("page.foot_opening")),
        StorageKind::Private => Some(Phrase::plain("page.foot_private")),
        StorageKind::Memory => None,
    }
}

/// Whether the browser promised to keep what is stored.
pub(super) fn kept(kept: bool) -> &'static str {
    if kept { "storage.kept" } else { "storage.not_kept" }
}

/// How a peer is reached, in one word.
pub(super) fn transport_word(transport: Transport) -> &'static str {
    match transport {
        Transport::Direct => "peers.direct_short",
        Transport::Relay => "peers.relay_short",
    }
}

/// How a peer is reached, in a sentence. With TURN servers a direct link may have a stop on its way, which the page
/// is not told of.
pub(super) fn transport(transport: Transport, uses_turn: bool) -> &'static str {
    match transport {
        Transport::Direct if uses_turn => "peers.direct_turn",
        Transport::Direct => "peers.direct",
        Transport::Relay => "peers.relay",
    }
}

/// Whether a TURN server is among the ICE servers (RFC 7065).
pub(super) fn uses_turn(rtc: &RtcView) -> bool {
    let is_turn = |url: &str| {
        let scheme = url.split(':').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case("turn") || scheme.eq_ignore_ascii_case("turns")
    };
    rtc.ice.urls.iter().any(|url| is_turn(url))
}

/// Why a peer's bytes go through the tracker.
pub(super) fn why_relayed(why: WhyRelayed) -> &'static str {
    match why {
        WhyRelayed::Trying => "why.trying",
        WhyRelayed::NoPath => "why.no_path",
        WhyRelayed::NoAnswer => "why.no_answer",
        WhyRelayed::Lost => "why.lost",
        WhyRelayed::NotHere => "why.not_here",
        WhyRelayed::SwitchedOff => "why.switched_off",
        WhyRelayed::NotThere => "why.not_there",
        WhyRelayed::TooMany => "why.too_many",
        WhyRelayed::Refused => "why.refused",
    }
}

/// What this page cannot do, or was told not to do, to reach peers; nothing when every way is open.
pub(super) fn ways(rtc: &RtcView) -> Option<&'static str> {
    match (rtc.mode, rtc.available) {
        (TransportMode::Auto, true) => None,
        (TransportMode::Auto, false) => Some("ways.no_webrtc"),
        (TransportMode::Relay, _) => Some("ways.relay_only"),
        (TransportMode::Direct, true) => Some("ways.direct_only"),
        (TransportMode::Direct, false) => Some("ways.none"),
    }
}

/// Whose choice the ICE servers in force are.
pub(super) fn ice_choice(choice: IceChoice) -> &'static str {
    match choice {
        IceChoice::User => "settings.ice_by_user",
        IceChoice::Tracker => "settings.ice_by_tracker",
        IceChoice::Usual => "settings.ice_usual",
    }
}

/// The word for `data-transport`.
pub(super) fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Direct => "direct",
        Transport::Relay => "relay",
    }
}

/// What goes on between a peer and this page: choking and interest (BEP 3) in plain words.
pub(super) fn exchange(peer: &PeerSnapshot) -> Phrase {
    let sends = peer.am_interested && !peer.peer_choking;
    let receives = peer.peer_interested && !peer.am_choking;
    Phrase::plain(match (sends, receives) {
        (true, true) => "peers.both",
        (true, false) => "peers.sending",
        (false, true) => "peers.receiving",
        (false, false) if peer.am_interested => "peers.turn_ours",
        (false, false) if peer.peer_interested => "peers.turn_theirs",
        (false, false) => "peers.idle",
    })
}

/// What a screen reader should hear when a torrent went from one state to another; `in_part` when not all of it is wanted.
pub(super) fn transition(before: State, after: State, in_part: bool, name: &str) -> Option<Phrase> {
    let key = match (before, after) {
        (same, other) if same == other => return None,
        (_, State::Hashing) => "say.checking",
        (State::Hashing, State::Seeding) => "say.hashed",
        (State::Hashing, State::Downloading) => "say.resumed",
        (State::Paused, _) => "say.resumed",
        (_, State::Paused) => "say.paused",
        (State::Metadata, State::Downloading) => "say.started",
        (State::Downloading, State::Seeding) if in_part => "say.chosen",
        (State::Metadata, State::Seeding) if in_part => "say.choose",
        (State::Downloading | State::Metadata, State::Seeding) => "say.complete",
        // Errors are alerts, which speak for themselves.
        _ => return None,
    };
    Some(Phrase::plain(key).text("name", name))
}

/// What was pasted or typed, when it plainly names a torrent: a hash, a magnet, or a link to the page with either
/// behind `#`. It only decides whether a paste outside any field is an order; the driver parses it.
pub(super) fn names_a_torrent(text: &str) -> bool {
    let text = text.trim();
    if text.chars().any(char::is_whitespace) {
        return false;
    }
    let is_hash = |text: &str| {
        (text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit()))
            || (text.len() == 32
                && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'2'..=b'7')))
    };
    let is_magnet = |text: &str| text.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("magnet:?"));
    let fragment = text.split_once('#').map(|(_, fragment)| fragment);
    [Some(text), fragment].into_iter().flatten().any(|text| is_hash(text) || is_magnet(text))
}

/// The trackers in what was written, one a word, each once; and the first word that is none a browser can use.
pub(super) fn trackers_in(written: &str) -> (Vec<String>, Option<String>) {
    let is_socket = |word: &&str| {
        let host = word.strip_prefix("wss://").or_else(|| word.strip_prefix("ws://"));
        word.len() <= MAX_TRACKER_URL_BYTES && host.is_some_and(|host| !host.is_empty())
    };
    let words = || written.split([' ', '\n', '\r', '\t', ',']).filter(|word| !word.is_empty());
    let mut trackers: Vec<String> = Vec::new();
    for word in words().filter(is_socket).take(MAX_TRACKERS - 1) {
        if !trackers.iter().any(|tracker| tracker == word) {
            trackers.push(word.to_owned());
        }
    }
    (trackers, words().find(|word| !is_socket(word)).map(|word| word.chars().take(60).collect()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::snapshot::IceView;

    const HASH: &str = "0123456789abcdef0123456789ABCDEF01234567";

    #[test]
    fn hashes_magnets_and_links_are_told_from_other_text() {
        for text in [
            HASH.to_owned(),
            format!("  {HASH}\n"),
            format!("http://192.168.0.2:8000/?lang=en#{HASH}"),
            format!("magnet:?xt=urn:btih:{HASH}&dn=a"),
            format!("MAGNET:?xt=urn:btih:{HASH}"),
            format!("https://example.org/#magnet:?xt=urn:btih:{HASH}"),
            "abcdefghijklmnopqrstuvwxyz234567".to_owned(),
        ] {
            assert!(names_a_torrent(&text), "{text}");
        }
        for text in
            ["", "hello", "http://example.org/", &HASH[1..], &format!("{HASH} {HASH}"), "ção#é", "magnet"]
        {
            assert!(!names_a_torrent(text), "{text}");
        }
    }

    #[test]
    fn trackers_are_told_from_what_a_browser_cannot_use() {
        assert_eq!(trackers_in("  \n"), (Vec::new(), None));
        let (trackers, wrong) =
            trackers_in("wss://a.example, ws://b.example:1/x\nwss://a.example udp://c wss://");
        assert_eq!(trackers, ["wss://a.example", "ws://b.example:1/x"]);
        assert_eq!(wrong.as_deref(), Some("udp://c"));
        let many: Vec<String> = (0..200).map(|number| format!("ws://{number}")).collect();
        assert_eq!(trackers_in(&many.join(" ")).0.len(), MAX_TRACKERS - 1);
    }

    #[test]
    fn completing_and_hashing_are_announced_but_not_what_stays_the_same() {
        let key = |before, after| transition(before, after, false, "x").map(|phrase| phrase.key);
        assert_eq!(key(State::Downloading, State::Seeding), Some("say.complete"));
        assert_eq!(key(State::Hashing, State::Seeding), Some("say.hashed"));
        assert_eq!(key(State::Metadata, State::Downloading), Some("say.started"));
        assert_eq!(key(State::Seeding, State::Seeding), None);
        assert_eq!(key(State::Downloading, State::Error), None);
        assert_eq!(key(State::Paused, State::Downloading), Some("say.resumed"));
        assert_eq!(key(State::Paused, State::Hashing), Some("say.checking"));
        assert_eq!(key(State::Hashing, State::Downloading), Some("say.resumed"));
        assert_eq!(key(State::Hashing, State::Paused), Some("say.paused"));
        let part = |before| transition(before, State::Seeding, true, "x").map(|phrase| phrase.key);
        assert_eq!(part(State::Downloading), Some("say.chosen"));
        assert_eq!(part(State::Metadata), Some("say.choose"));
    }

    #[test]
    fn choking_and_interest_become_plain_words() {
        let peer = |am_interested, peer_choking, peer_interested, am_choking| PeerSnapshot {
            id: String::new(),
            client: String::new(),
            transport: Transport::Relay,
            why_relayed: None,
            introduced: false,
            am_choking,
            am_interested,
            peer_choking,
            peer_interested,
            snubbed: false,
            optimistic: false,
            progress: 0.0,
            rates: engine::Rates::default(),
            downloaded: 0,
            uploaded: 0,
        };
        assert_eq!(exchange(&peer(true, false, true, false)).key, "peers.both");
        assert_eq!(exchange(&peer(true, false, false, true)).key, "peers.sending");
        assert_eq!(exchange(&peer(true, true, true, false)).key, "peers.receiving");
        assert_eq!(exchange(&peer(true, true, true, true)).key, "peers.turn_ours");
        assert_eq!(exchange(&peer(false, true, true, true)).key, "peers.turn_theirs");
        assert_eq!(exchange(&peer(false, true, false, true)).key, "peers.idle");
    }

    #[test]
    fn every_priority_has_a_word_that_says_it() {
        for of in [Priority::Skip, Priority::Normal, Priority::High] {
            assert_eq!(priority_of(priority_name(of)), Some(of));
        }
        assert_eq!(priority_of("Skip"), None);
    }

    #[test]
    fn a_banned_peer_is_named_where_its_id_names_it_and_pieces_count_from_one() {
        let of = |client: &str| banned(&BannedView { id: "2d".into(), client: client.into(), piece: 16 });
        assert_eq!(of("").key, "banned.nameless");
        assert_eq!(of("Enxame").key, "banned.named");
        assert!(of("").args.contains(&("piece", Value::Count(17))));
    }

    #[test]
    fn a_tracker_is_called_by_its_host() {
        for (url, expected) in [
            ("wss://tracker.example.org/announce", "tracker.example.org"),
            ("ws://192.168.0.2:8000/ws", "192.168.0.2:8000"),
            ("ws://[::1]:8000/ws?a=b/c#d", "[::1]:8000"),
            ("wss://me:secret@tracker.example.org:443", "tracker.example.org:443"),
            ("wss://tracker.example.org?key=a@b", "tracker.example.org"),
            ("tracker.example.org/announce", "tracker.example.org"),
            ("wss:///", "wss:///"),
            ("", ""),
        ] {
            assert_eq!(host(url), expected, "{url}");
        }
    }

    #[test]
    fn every_way_that_is_closed_is_said_and_open_ones_are_not() {
        let rtc = |mode, available| RtcView { available, mode, ice: IceView::default(), open: 0, made: 0 };
        assert_eq!(ways(&rtc(TransportMode::Auto, true)), None);
        let closed = [
            (TransportMode::Auto, false),
            (TransportMode::Relay, true),
            (TransportMode::Direct, true),
            (TransportMode::Direct, false),
        ];
        let said: BTreeSet<_> = closed.iter().filter_map(|(mode, here)| ways(&rtc(*mode, *here))).collect();
        assert_eq!(said.len(), closed.len());
    }

    #[test]
    fn turn_servers_are_told_from_stun_servers() {
        let with = |urls: &[&str]| {
            let ice = IceView { urls: urls.iter().map(|&url| url.into()).collect(), ..IceView::default() };
            uses_turn(&RtcView { available: true, mode: TransportMode::Auto, ice, open: 0, made: 0 })
        };
        assert!(with(&["stun:a.example", "TURNS:b.example:443?transport=tcp"]));
        assert!(!with(&["stun:turn.example", "stuns:a.example"]));
        assert!(!with(&[]));
    }

    #[test]
    fn a_trouble_never_shows_its_technical_words_in_the_sentence() {
        let failed = Trouble::StoreFailed { detail: "QuotaExceededError".into() };
        assert!(trouble(&failed).args.is_empty());
        assert_eq!(trouble_detail(&failed), Some("QuotaExceededError"));
        assert_eq!(trouble_detail(&Trouble::SaveFailed { detail: String::new() }), None);
    }
}
