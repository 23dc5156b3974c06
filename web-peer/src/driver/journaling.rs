//! What of a torrent's changes goes into its journal: each look at it is compared with the one before. No clock and no browser.
//!
//! It looks when the user interface does, a few times a second at most: what is over sooner is no news for anybody.

use engine::{PeerSnapshot, State, Time, Transport, WhyRelayed};

use crate::journal::{Happening, Journal, Who, plain};
use crate::snapshot::{BannedView, TorrentTrackerView, TorrentView, TrackerState, Trouble, Waiting};

/// More peers than this that come or go at once are one line.
const SINGLY: usize = 4;
/// In swarms with more linked peers than this, who serves whom changes too often to be told.
const SMALL_SWARM: usize = 8;

/// A torrent's journal, and what it looked like last.
#[derive(Default)]
pub(super) struct Journaling {
    journal: Journal,
    before: Option<Before>,
    peers: Vec<Known>,
    /// When the fetching began.
    began: Option<Time>,
    looks: u32,
}

struct Before {
    state: State,
    /// It stood still, before it was checked if it is.
    stood: bool,
    has_hash: bool,
    is_checked: bool,
    have: u32,
    super_seeding: bool,
    waiting: Option<Waiting>,
    trouble: Option<Trouble>,
    /// The latest banned peer.
    banned: Option<BannedView>,
    trackers: Vec<TorrentTrackerView>,
}

/// A linked peer.
struct Known {
    id: String,
    who: Who,
    since: Time,
    transport: Transport,
    why: Option<WhyRelayed>,
    /// It serves this tab.
    serves: bool,
    snubbed: bool,
    is_complete: bool,
    /// The look at which it was last there.
    seen: u32,
}

impl Journaling {
    /// What happened so far.
    pub(super) fn journal(&self) -> Journal {
        self.journal.clone()
    }

    /// Writes down what is new. `at` is the same moment as `now`, in milliseconds since 1970.
    pub(super) fn look(&mut self, now: Time, at: u64, view: &TorrentView) {
        let mut news = Vec::new();
        if view.torrent.state == State::Downloading {
            self.began.get_or_insert(now);
        }
        let fetching = self.began.map_or(0, |began| now.since(began).as_secs_f64().ceil() as u64);
        match &self.before {
            Some(before) => {
                news.extend(transition(before, view, fetching));
                trackers(&before.trackers, &view.trackers, &mut news);
                bans(before.banned.as_ref(), &view.banned, &mut news);
                news.extend(trouble(before.trouble.as_ref(), view.trouble.as_ref()));
                news.extend(waiting(before.waiting, view.waiting));
                if before.have == 0 && view.torrent.pieces.have > 0 && view.torrent.bytes.downloaded > 0 {
                    news.push(Happening::FirstPiece);
                }
                match (before.super_seeding, view.super_seeding) {
                    (false, true) => news.push(Happening::SuperSeeding),
                    (true, false) if view.torrent.state == State::Seeding => news.push(Happening::Spread),
                    _ => {}
                }
            }
            None => {
                news.extend(beginning(view));
                trackers(&[], &view.trackers, &mut news);
                news.extend(trouble(None, view.trouble.as_ref()));
                news.extend(waiting(None, view.waiting));
            }
        }
        self.look_at_peers(now, view, &mut news);
        if view.torrent.state == State::Seeding {
            self.began = None;
        }
        self.before = Some(Before {
            state: view.torrent.state,
            stood: match view.torrent.state {
                State::Hashing => self.before.as_ref().is_none_or(|before| before.stood),
                state => state == State::Paused,
            },
            has_hash: !view.link.is_empty(),
            is_checked: view.checked.is_some(),
            have: view.torrent.pieces.have,
            super_seeding: view.super_seeding,
            waiting: view.waiting,
            trouble: view.trouble.clone(),
            banned: view.banned.last().cloned(),
            trackers: view.trackers.clone(),
        });
        for what in news {
            self.journal.add(at, what);
        }
    }

    fn look_at_peers(&mut self, now: Time, view: &TorrentView, news: &mut Vec<Happening>) {
        self.looks = self.looks.wrapping_add(1);
        let is_small = view.peers().len() <= SMALL_SWARM;
        let mut came = Vec::new();
        for (place, peer) in view.peers().iter().enumerate() {
            // They keep their order, so it mostly is where it was.
            let is_it = |known: &Known| known.id == peer.id;
            let place = match self.peers.get(place) {
                Some(known) if is_it(known) => Some(place),
                _ => self.peers.iter().position(is_it),
            };
            match place {
                Some(place) => self.peers[place].look(now, self.looks, peer, is_small, news),
                None => {
                    let known = Known::new(now, self.looks, peer);
                    came.push(known.coming(peer));
                    self.peers.push(known);
                }
            }
        }
        let (looks, ours_is_complete) = (self.looks, view.torrent.state == State::Seeding);
        let gone: Vec<Known> = self.peers.extract_if(.., |known| known.seen != looks).collect();
        // Who was banned is told already, and a torrent that stands still, or is checked, has no links.
        let stands = matches!(view.torrent.state, State::Paused | State::Error | State::Hashing);
        let is_told = |known: &Known| stands || view.banned.iter().any(|banned| banned.id == known.id);
        let left: Vec<Happening> = gone
            .into_iter()
            .filter(|known| !is_told(known))
            .map(|known| match known.is_complete && ours_is_complete {
                true => Happening::LeftComplete { who: known.who },
                false => Happening::Left { who: known.who },
            })
            .collect();
        news.extend(singly(came, |count| Happening::Linked { count }));
        news.extend(singly(left, |count| Happening::ManyLeft { count }));
    }
}

fn singly(events: Vec<Happening>, together: fn(u64) -> Happening) -> Vec<Happening> {
    if events.len() > SINGLY { vec![together(events.len() as u64)] } else { events }
}

impl Known {
    fn new(now: Time, seen: u32, peer: &PeerSnapshot) -> Self {
        Self {
            id: peer.id.clone(),
            who: Who::new(&peer.id, &peer.client),
            since: now,
            transport: peer.transport,
            why: None,
            serves: serves(peer),
            snubbed: peer.snubbed,
            is_complete: peer.progress >= 1.0,
            seen,
        }
    }

    fn coming(&self, peer: &PeerSnapshot) -> Happening {
        let who = self.who.clone();
        match peer.transport {
            Transport::Relay => Happening::Relayed { who },
            Transport::Direct if peer.introduced => Happening::Introduced { who },
            Transport::Direct => Happening::Direct { who },
        }
    }

    fn look(&mut self, now: Time, seen: u32, peer: &PeerSnapshot, is_small: bool, news: &mut Vec<Happening>) {
        self.seen = seen;
        if self.who.client.is_empty() && !peer.client.is_empty() {
            self.who = Who::new(&peer.id, &peer.client);
        }
        let who = || self.who.clone();
        match (self.transport, peer.transport) {
            (Transport::Relay, Transport::Direct) => {
                let seconds = now.since(self.since).as_secs_f64().ceil() as u64;
                news.push(Happening::WentDirect { who: who(), seconds });
            }
            (Transport::Direct, Transport::Relay) => news.push(Happening::FellBack { who: who() }),
            _ => {}
        }
        // What this very page does not do is said elsewhere, once, and what is lost was told just now.
        let is_news = |why: &WhyRelayed| {
            use WhyRelayed::{Lost, NotHere, SwitchedOff, Trying};
            self.why != Some(*why) && !matches!(why, Trying | Lost | NotHere | SwitchedOff)
        };
        if let Some(why) = peer.why_relayed.filter(is_news) {
            news.push(Happening::NotDirect { who: who(), why });
            self.why = Some(why);
        }
        let serves = serves(peer);
        if is_small && peer.am_interested {
            match (self.serves, serves) {
                (true, false) => news.push(Happening::Choked { who: who() }),
                (false, true) => news.push(Happening::Unchoked { who: who() }),
                _ => {}
            }
        }
        if is_small && peer.snubbed && !self.snubbed {
            news.push(Happening::Snubbed { who: who() });
        }
        (self.transport, self.serves, self.snubbed) = (peer.transport, serves, peer.snubbed);
        self.is_complete = peer.progress >= 1.0;
    }
}

fn serves(peer: &PeerSnapshot) -> bool {
    !peer.peer_choking
}

/// What was here already when it was first looked at.
fn beginning(view: &TorrentView) -> Option<Happening> {
    let bytes = view.torrent.bytes;
    match view.torrent.state {
        // Small files are hashed before anybody looks.
        State::Seeding if !view.stored => Some(Happening::Hashed),
        State::Hashing => None,
        _ => (view.stored && bytes.verified > bytes.downloaded)
            .then_some(Happening::Back { bytes: bytes.verified - bytes.downloaded }),
    }
}

/// What the torrent does otherwise than before.
fn transition(before: &Before, view: &TorrentView, seconds: u64) -> Option<Happening> {
    let needed_files = before.waiting.is_some_and(Waiting::is_for_files);
    Some(match (before.state, view.torrent.state) {
        // `checked` is empty while one is under way, which may be over before anybody looks.
        _ if !before.is_checked && view.checked.is_some() => Happening::Checked,
        (same, other) if same == other => return None,
        (State::Paused | State::Hashing, State::Seeding) if needed_files => Happening::FilesBack,
        (State::Hashing, State::Seeding) if !before.has_hash => Happening::Hashed,
        // That it is checked, or its files are looked at, is not that it goes on.
        (State::Hashing, State::Paused) if before.stood => return None,
        // Nobody made it stand still; that it needs its files is told.
        (_, State::Paused) if view.needs_files() => return None,
        (_, State::Error) => return None,
        (_, State::Paused) => Happening::Paused,
        (_, State::Hashing) | (State::Hashing, _) => return None,
        (State::Paused | State::Error, _) => Happening::Resumed,
        (State::Metadata, State::Downloading) => Happening::Described,
        (State::Metadata, State::Seeding) if view.wants_nothing() => Happening::Described,
        (State::Downloading | State::Metadata, State::Seeding) => Happening::Complete { seconds },
        _ => return None,
    })
}

fn trackers(before: &[TorrentTrackerView], now: &[TorrentTrackerView], news: &mut Vec<Happening>) {
    for tracker in now {
        let earlier = before.iter().find(|earlier| earlier.url == tracker.url);
        let url = || plain(&tracker.url);
        if earlier.is_none_or(|earlier| earlier.state != tracker.state) {
            match tracker.state {
                TrackerState::Connected => news.push(Happening::TrackerFound { url: url() }),
                TrackerState::Unreachable => news.push(Happening::TrackerLost { url: url() }),
                TrackerState::Connecting => {}
            }
        }
        if let Some(text) = &tracker.failure
            && earlier.is_none_or(|earlier| earlier.failure.as_ref() != Some(text))
        {
            news.push(Happening::TrackerRefused { url: url(), text: plain(text) });
        }
    }
}

/// Who was banned after this one.
fn bans(last: Option<&BannedView>, banned: &[BannedView], news: &mut Vec<Happening>) {
    let told = banned.iter().rposition(|one| Some(one) == last).map_or(0, |place| place + 1);
    for one in &banned[told..] {
        news.push(Happening::Banned { who: Who::new(&one.id, &one.client), piece: one.piece });
    }
}

fn trouble(before: Option<&Trouble>, now: Option<&Trouble>) -> Option<Happening> {
    match now.filter(|now| before != Some(now))? {
        Trouble::HashMismatch { peer, piece } => {
            peer.is_empty().then_some(Happening::BadPiece { piece: *piece })
        }
        trouble => Some(Happening::failed(trouble)),
    }
}

fn waiting(before: Option<Waiting>, now: Option<Waiting>) -> Option<Happening> {
    match now.filter(|_| before != now)? {
        Waiting::Peers => Some(Happening::Alone),
        now if now.is_for_files() && !before.is_some_and(Waiting::is_for_files) => {
            Some(Happening::FilesNeeded)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use engine::{ByteCounts, PieceCounts, Rates, TorrentSnapshot};
    use shared::InfoHash;

    use super::*;

    fn peer(number: usize, transport: Transport) -> PeerSnapshot {
        PeerSnapshot {
            id: format!("{number:040}"),
            client: "Enxame 0.1.0".into(),
            transport,
            why_relayed: None,
            introduced: false,
            am_choking: true,
            am_interested: true,
            peer_choking: true,
            peer_interested: false,
            snubbed: false,
            optimistic: false,
            progress: 1.0,
            rates: Rates::default(),
            downloaded: 0,
            uploaded: 0,
        }
    }

    fn view(state: State, have: u32) -> TorrentView {
        let bytes = u64::from(have) * 10;
        TorrentView::from(TorrentSnapshot {
            info_hash: InfoHash::new([0; 20]),
            name: "name".into(),
            state,
            bytes: ByteCounts { total: 100, verified: bytes, downloaded: bytes, uploaded: 0 },
            rates: Rates::default(),
            pieces: PieceCounts { total: 10, have },
            peers: Vec::new(),
        })
    }

    fn with(state: State, have: u32, peers: Vec<PeerSnapshot>) -> TorrentView {
        let mut view = view(state, have);
        view.torrent.peers = peers;
        view
    }

    fn tracker(state: TrackerState, failure: Option<&str>) -> TorrentTrackerView {
        TorrentTrackerView {
            url: "wss://a.example/announce".into(),
            state,
            own: true,
            kind: None,
            complete: 0,
            incomplete: 0,
            failure: failure.map(str::to_owned),
        }
    }

    fn who(number: usize) -> Who {
        Who::new(&format!("{number:040}"), "Enxame 0.1.0")
    }

    /// What is written when it looks like this, one after the other, half a second apart.
    fn told(views: &[TorrentView]) -> Vec<Happening> {
        let mut journaling = Journaling::default();
        for (step, view) in (0_u64..).zip(views) {
            journaling.look(Time::since_start(Duration::from_millis(step * 500)), step, view);
        }
        journaling.journal().entries().iter().map(|entry| entry.what.clone()).collect()
    }

    #[test]
    fn a_download_is_told_from_the_hash_to_the_end() {
        let relayed = peer(7, Transport::Relay);
        let direct = PeerSnapshot { peer_choking: false, ..peer(7, Transport::Direct) };
        let lines = told(&[
            TorrentView { waiting: Some(Waiting::Peers), ..view(State::Metadata, 0) },
            with(State::Metadata, 0, vec![relayed.clone()]),
            with(State::Downloading, 0, vec![relayed]),
            with(State::Downloading, 3, vec![direct.clone()]),
            with(State::Downloading, 9, vec![direct.clone()]),
            with(State::Seeding, 10, vec![direct]),
            with(State::Seeding, 10, Vec::new()),
        ]);
        let expected = [
            Happening::Alone,
            Happening::Relayed { who: who(7) },
            Happening::Described,
            Happening::FirstPiece,
            Happening::WentDirect { who: who(7), seconds: 1 },
            Happening::Unchoked { who: who(7) },
            Happening::Complete { seconds: 2 },
            Happening::LeftComplete { who: who(7) },
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn nothing_is_told_while_nothing_changes_but_numbers() {
        let moving = |have| with(State::Downloading, have, vec![peer(1, Transport::Direct)]);
        let lines = told(&[moving(1), moving(2), moving(3), moving(9)]);
        assert_eq!(lines, [Happening::Direct { who: who(1) }]);
    }

    #[test]
    fn what_was_here_before_is_told_from_what_was_chosen_just_now() {
        let at = |state, downloaded, stored| {
            let mut view = TorrentView { stored, ..view(state, 4) };
            view.torrent.bytes.downloaded = downloaded;
            view
        };
        assert_eq!(told(&[at(State::Downloading, 10, true)]), [Happening::Back { bytes: 30 }]);
        assert_eq!(told(&[at(State::Seeding, 0, true)]), [Happening::Back { bytes: 40 }]);
        assert_eq!(told(&[at(State::Seeding, 0, false)]), [Happening::Hashed]);
        assert_eq!(told(&[at(State::Hashing, 0, false), at(State::Seeding, 0, false)]), [Happening::Hashed]);
    }

    #[test]
    fn a_check_is_told_when_it_is_over_whatever_it_was_before_and_is_not_the_hashing_of_new_files() {
        for (stored, told_first) in [(true, Happening::Back { bytes: 40 }), (false, Happening::Hashed)] {
            let at = |state, checked| TorrentView {
                stored,
                checked,
                link: "#".into(),
                torrent: TorrentSnapshot {
                    bytes: ByteCounts { verified: 40, total: 40, ..ByteCounts::default() },
                    ..view(state, 4).torrent
                },
                ..view(state, 4)
            };
            let seeding = |checked| at(State::Seeding, checked);
            let lines = told(&[seeding(None), at(State::Hashing, None), seeding(Some(0))]);
            assert_eq!(lines, [told_first.clone(), Happening::Checked]);
            // It was over before anybody looked.
            assert_eq!(told(&[seeding(None), seeding(Some(0))]), [told_first.clone(), Happening::Checked]);
            // The user ended it by a pause.
            let ended = [seeding(None), at(State::Hashing, None), at(State::Paused, None)];
            assert_eq!(told(&ended), [told_first, Happening::Paused]);
            let stands = |checked| at(State::Paused, checked);
            let lines = told(&[stands(Some(3)), at(State::Hashing, None), stands(Some(0))]);
            assert_eq!(lines.last(), Some(&Happening::Checked));
            let ended = told(&[stands(None), at(State::Hashing, None), stands(None)]);
            assert!(!ended.contains(&Happening::Checked) && !ended.contains(&Happening::Paused), "{ended:?}");
        }
    }

    #[test]
    fn what_a_check_found_wrong_is_fetched_within_a_time_of_its_own() {
        let lines = told(&[
            view(State::Downloading, 9),
            view(State::Seeding, 10),
            view(State::Seeding, 10),
            view(State::Seeding, 10),
            view(State::Seeding, 10),
            view(State::Hashing, 10),
            TorrentView { checked: Some(1), ..view(State::Downloading, 9) },
            TorrentView { checked: Some(1), ..view(State::Seeding, 10) },
        ]);
        let complete = Happening::Complete { seconds: 1 };
        // Both took the same time, so the second counts with the first.
        assert_eq!(lines, [Happening::Checked, complete]);
    }

    #[test]
    fn a_relay_says_once_why_it_stays_and_a_broken_link_is_told() {
        let because = |why| PeerSnapshot { why_relayed: Some(why), ..peer(2, Transport::Relay) };
        let show = |peer| with(State::Downloading, 0, vec![peer]);
        let lines = told(&[
            show(peer(2, Transport::Direct)),
            show(because(WhyRelayed::Lost)),
            show(because(WhyRelayed::Trying)),
            show(because(WhyRelayed::NoPath)),
            show(because(WhyRelayed::Trying)),
            show(because(WhyRelayed::NoPath)),
        ]);
        let expected = [
            Happening::Direct { who: who(2) },
            Happening::FellBack { who: who(2) },
            Happening::NotDirect { who: who(2), why: WhyRelayed::NoPath },
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_small_swarm_tells_who_serves_and_a_large_one_does_not() {
        let choking =
            |peer_choking| move |number| PeerSnapshot { peer_choking, ..peer(number, Transport::Direct) };
        let swarm = |peers: usize, is_choking| {
            with(State::Downloading, 0, (0..peers).map(choking(is_choking)).collect())
        };
        let small = told(&[swarm(1, true), swarm(1, false), swarm(1, true)]);
        assert_eq!(small[1..], [Happening::Unchoked { who: who(0) }, Happening::Choked { who: who(0) }]);
        let large = told(&[swarm(9, true), swarm(9, false), swarm(0, true)]);
        assert_eq!(large, [Happening::Linked { count: 9 }, Happening::ManyLeft { count: 9 }]);
    }

    #[test]
    fn who_lied_is_told_once_and_leaves_without_a_word() {
        let banned =
            |number: usize| BannedView { id: format!("{number:040}"), client: "x".into(), piece: 12 };
        let lying = |peers, bans: &[usize]| TorrentView {
            banned: bans.iter().map(|number| banned(*number)).collect(),
            trouble: Some(Trouble::HashMismatch { peer: "0".into(), piece: 12 }),
            ..with(State::Downloading, 0, peers)
        };
        let one = || vec![peer(1, Transport::Direct)];
        let lines = told(&[
            with(State::Downloading, 0, one()),
            lying(Vec::new(), &[1]),
            lying(Vec::new(), &[1, 2, 3]),
            lying(Vec::new(), &[2, 3]),
        ]);
        let ban =
            |number: usize| Happening::Banned { who: Who::new(&format!("{number:040}"), "x"), piece: 12 };
        assert_eq!(lines, [Happening::Direct { who: who(1) }, ban(1), ban(2), ban(3)]);
    }

    #[test]
    fn trackers_that_come_and_go_and_what_they_say_are_told() {
        let at = |state, failure| TorrentView {
            trackers: vec![tracker(state, failure)],
            ..with(State::Downloading, 0, Vec::new())
        };
        let url = || "wss://a.example/announce".to_owned();
        let lines = told(&[
            at(TrackerState::Connecting, None),
            at(TrackerState::Connected, None),
            at(TrackerState::Connected, Some("not\nallowed")),
            at(TrackerState::Connected, Some("not\nallowed")),
            at(TrackerState::Unreachable, Some("not\nallowed")),
        ]);
        let expected = [
            Happening::TrackerFound { url: url() },
            Happening::TrackerRefused { url: url(), text: "notallowed".into() },
            Happening::TrackerLost { url: url() },
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_pause_is_one_line_and_not_one_for_each_link() {
        let peers = || vec![peer(1, Transport::Direct), peer(2, Transport::Direct)];
        let lines = told(&[
            with(State::Downloading, 0, peers()),
            with(State::Paused, 0, Vec::new()),
            with(State::Downloading, 0, Vec::new()),
        ]);
        assert_eq!(lines[2..], [Happening::Paused, Happening::Resumed]);
    }

    #[test]
    fn files_that_are_needed_and_come_back_are_told() {
        let waits = |waiting, state| TorrentView { waiting, ..view(state, 0) };
        let lines = told(&[
            waits(Some(Waiting::Permission), State::Paused),
            waits(Some(Waiting::Files), State::Paused),
            waits(Some(Waiting::Files), State::Seeding),
        ]);
        assert_eq!(lines, [Happening::FilesNeeded, Happening::FilesBack]);
        // Bytes that are not right make it stand still, also in the midst of a check.
        let lines = told(&[
            view(State::Downloading, 0),
            view(State::Hashing, 0),
            waits(Some(Waiting::Files), State::Paused),
        ]);
        assert_eq!(lines, [Happening::FilesNeeded]);
    }
}
