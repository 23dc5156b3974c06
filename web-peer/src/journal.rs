//! What happened to a torrent, in the order in which it happened: a bounded list of what the user interface has words for.
//!
//! Nothing is written down for each piece, and what happens again is counted, not written again.

use std::sync::Arc;

use engine::WhyRelayed;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::snapshot::Trouble;

/// Most entries of one torrent about its peers: those who come and go under ever new names shall not push out anything else.
const MOST_OF_PEERS: usize = 100;
/// Most about its trackers, which a stranger's link may name, and which say what they like.
const MOST_OF_TRACKERS: usize = 30;
/// Most about pieces that were wrong, and who sent them.
const MOST_WRONG: usize = 30;
/// Most of all others.
const MOST_OTHERS: usize = 40;
/// So many entries back it is looked whether the same has happened before.
const NEAR: usize = 16;
/// Longest text of others, in characters.
const MOST_TEXT: usize = 80;

/// A peer, as far as it can be told from others by a reader.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Who {
    /// Its program, as it says, made harmless by [`plain`]; empty when it does not say.
    pub client: String,
    /// The last digits of its peer id.
    pub id: String,
}

impl Who {
    /// The peer with this id (hexadecimal) and program.
    pub fn new(id: &str, client: &str) -> Self {
        let tail = id.len().saturating_sub(4);
        Self { client: plain(client), id: id.get(tail..).unwrap_or_default().to_owned() }
    }
}

/// What happened. Where there is a peer it is `who`; a `piece` is counted from zero, and texts of others went through [`plain`].
#[allow(missing_docs, reason = "the lines above say what the fields are")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Happening {
    /// The user's files were read and hashed.
    Hashed,
    /// What is in the store was compared with its hashes again.
    Checked,
    /// It was here in an earlier session, with so many verified bytes.
    Back { bytes: u64 },
    /// The info dictionary came from peers.
    Described,
    /// The first piece was verified.
    FirstPiece,
    /// All that is wanted is here, so many seconds after the fetching began.
    Complete { seconds: u64 },
    /// The user made it stand still.
    Paused,
    /// It goes on.
    Resumed,
    /// The user's own files are here again.
    FilesBack,
    /// The user's own files have to be chosen again.
    FilesNeeded,
    /// Nobody is linked, and all trackers know of nobody.
    Alone,
    /// This peer was linked through a tracker's relay.
    Relayed { who: Who },
    /// This peer was linked directly from the first.
    Direct { who: Who },
    /// The same, with a neighbour as the go-between.
    Introduced { who: Who },
    /// So many peers were linked at once.
    Linked { count: u64 },
    /// From the relay to a direct link, so many seconds after the peer was first linked.
    WentDirect { who: Who, seconds: u64 },
    /// The direct link broke; the relay carries on.
    FellBack { who: Who },
    /// Why the relay is used on.
    NotDirect { who: Who, why: WhyRelayed },
    /// It is not linked any more.
    Left { who: Who },
    /// The same, and it had all of it, as this tab has.
    LeftComplete { who: Who },
    /// So many peers left at once.
    ManyLeft { count: u64 },
    /// It served this tab and stopped (BEP 3's choke).
    Choked { who: Who },
    /// It serves this tab.
    Unchoked { who: Who },
    /// It was asked and does not answer.
    Snubbed { who: Who },
    /// It sent wrong bytes for this piece, counted from zero.
    Banned { who: Who, piece: u32 },
    /// One of several peers did.
    BadPiece { piece: u32 },
    /// This tracker is connected.
    TrackerFound { url: String },
    /// It cannot be reached.
    TrackerLost { url: String },
    /// It said this against the torrent.
    TrackerRefused { url: String, text: String },
    /// Each piece is given to somebody who passes it on (BEP 16).
    SuperSeeding,
    /// Somebody else has all of it.
    Spread,
    /// Something is wrong.
    Failed { trouble: Trouble },
}

impl Happening {
    /// Something is wrong, and strangers may have named what.
    pub fn failed(trouble: &Trouble) -> Self {
        let mut trouble = trouble.clone();
        if let Trouble::FileUnreadable { name: text }
        | Trouble::FileChanged { name: text }
        | Trouble::BadMetainfo { name: text, .. }
        | Trouble::StoreFailed { detail: text }
        | Trouble::SaveFailed { detail: text } = &mut trouble
        {
            *text = plain(text);
        }
        Self::Failed { trouble }
    }

    /// Who can make it happen as often as they like.
    fn class(&self) -> Class {
        match self {
            Self::Alone
            | Self::Relayed { .. }
            | Self::Direct { .. }
            | Self::Introduced { .. }
            | Self::Linked { .. }
            | Self::WentDirect { .. }
            | Self::FellBack { .. }
            | Self::NotDirect { .. }
            | Self::Left { .. }
            | Self::LeftComplete { .. }
            | Self::ManyLeft { .. }
            | Self::Choked { .. }
            | Self::Unchoked { .. }
            | Self::Snubbed { .. } => Class::Peers,
            Self::TrackerFound { .. } | Self::TrackerLost { .. } | Self::TrackerRefused { .. } => {
                Class::Trackers
            }
            Self::Banned { .. } | Self::BadPiece { .. } => Class::Wrong,
            _ => Class::Others,
        }
    }
}

/// What has a bound of its own, so that much of it pushes out nothing else.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Peers,
    Trackers,
    Wrong,
    Others,
}

impl Class {
    /// Most entries.
    fn most(self) -> usize {
        match self {
            Self::Peers => MOST_OF_PEERS,
            Self::Trackers => MOST_OF_TRACKERS,
            Self::Wrong => MOST_WRONG,
            Self::Others => MOST_OTHERS,
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Names the line. What happens again is another line.
    pub number: u32,
    /// Milliseconds since 1970; the last time if it happened several times.
    pub at: u64,
    /// How often it happened.
    pub times: u32,
    /// What.
    pub what: Happening,
}

/// The entries, the oldest first. Clones share them until the next is added.
#[derive(Debug, Clone, Default)]
pub struct Journal(Arc<Vec<Entry>>);

impl Journal {
    /// The entries, the oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what happened at this time, in milliseconds since 1970. What happened shortly before as well is counted, and counts
    /// as the latest.
    pub fn add(&mut self, at: u64, what: Happening) {
        let entries = Arc::make_mut(&mut self.0);
        let number = entries.last().map_or(0, |last| last.number.wrapping_add(1));
        let near = entries.len().saturating_sub(NEAR);
        if let Some(place) = entries[near..].iter().position(|entry| entry.what == what) {
            let again = entries.remove(near + place);
            entries.push(Entry { number, at, times: again.times.saturating_add(1), ..again });
            return;
        }
        let class = what.class();
        let is_like_it = |entry: &Entry| entry.what.class() == class;
        if entries.iter().filter(|entry| is_like_it(entry)).count() >= class.most()
            && let Some(oldest) = entries.iter().position(is_like_it)
        {
            entries.remove(oldest);
        }
        entries.push(Entry { number, at, times: 1, what });
    }
}

impl PartialEq for Journal {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Serialize for Journal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Journal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(|entries| Self(Arc::new(entries)))
    }
}

/// A text of others that can stand in a line of ours: bounded, and without what breaks lines or turns their direction.
pub fn plain(text: &str) -> String {
    let is_plain = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            && !matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().filter(is_plain).take(MOST_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(number: usize) -> Happening {
        Happening::Left { who: Who::new(&format!("{number:04}"), "") }
    }

    #[test]
    fn what_happens_again_is_counted_and_counts_as_the_latest() {
        let mut journal = Journal::default();
        for at in 0..10 {
            journal.add(at, if at % 2 == 0 { Happening::Paused } else { Happening::Resumed });
        }
        let lines: Vec<_> =
            journal.entries().iter().map(|entry| (entry.at, entry.times, &entry.what)).collect();
        assert_eq!(lines, [(8, 5, &Happening::Paused), (9, 5, &Happening::Resumed)]);
    }

    #[test]
    fn peers_under_ever_new_names_neither_fill_the_memory_nor_push_out_the_rest() {
        let mut journal = Journal::default();
        journal.add(0, Happening::Described);
        for number in 0..5_000 {
            journal.add(1, left(number));
        }
        assert_eq!(journal.entries().len(), 1 + MOST_OF_PEERS);
        assert_eq!(journal.entries()[0].what, Happening::Described);
        assert_eq!(journal.entries().last().map(|entry| &entry.what), Some(&left(4_999)));
        for count in 0..5_000 {
            journal.add(2, Happening::Linked { count });
            journal.add(2, Happening::ManyLeft { count });
        }
        assert_eq!(journal.entries().len(), 1 + MOST_OF_PEERS);
        assert_eq!(journal.entries()[0].what, Happening::Described);
    }

    #[test]
    fn what_others_repeat_with_new_words_is_bounded_and_pushes_out_nothing_else() {
        let mut journal = Journal::default();
        journal.add(0, Happening::Described);
        journal.add(0, left(0));
        for number in 0..5_000 {
            let (url, text) = ("wss://a.example".to_owned(), number.to_string());
            journal.add(1, Happening::TrackerRefused { url, text });
            journal.add(1, Happening::BadPiece { piece: number });
        }
        assert_eq!(
            journal.entries()[..2].iter().map(|entry| &entry.what).collect::<Vec<_>>(),
            [&Happening::Described, &left(0)]
        );
        assert_eq!(journal.entries().len(), 2 + MOST_OF_TRACKERS + MOST_WRONG);
        for seconds in 0..5_000 {
            journal.add(2, Happening::Complete { seconds });
        }
        assert_eq!(journal.entries().len(), 1 + MOST_OF_TRACKERS + MOST_WRONG + MOST_OTHERS);
    }

    #[test]
    fn what_was_shown_stays_as_it_was_when_more_happens() {
        let mut journal = Journal::default();
        journal.add(0, Happening::Paused);
        let shown = journal.clone();
        assert!(Arc::ptr_eq(&shown.0, &journal.0), "nothing is copied while nothing happens");
        journal.add(1, Happening::Resumed);
        assert_eq!((shown.entries().len(), journal.entries().len()), (1, 2));
        assert_ne!(shown, journal);
    }

    #[test]
    fn texts_of_others_are_short_and_keep_to_their_line() {
        assert_eq!(plain("a\nb\u{202e}c\u{200f}\u{feff}d\0é\u{61c}f\u{ad}g"), "abcdéfg");
        assert_eq!(plain(&"ç".repeat(5_000)).chars().count(), MOST_TEXT);
        let who = Who::new("2d454e", "x\u{2066}y");
        assert_eq!((who.id.as_str(), who.client.as_str()), ("454e", "xy"));
        assert_eq!(Who::new("é", "").id, "é");
        let named = |name: &str| Trouble::FileChanged { name: name.into() };
        assert_eq!(Happening::failed(&named("a\n\u{202e}b")), Happening::Failed { trouble: named("ab") });
    }
}
