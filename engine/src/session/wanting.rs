//! What the user wants: which files at all and which first, in which order, and by when.
//!
//! A piece is wanted as much as the file that wants it most. Pieces with a deadline come before all others, the earliest
//! first; then, in sequential mode, those in a window that moves with what has come; then whatever the picker says.

use std::ops::Range;
use std::time::Duration;

use shared::PieceIndex;
use shared::order::{SortedSet, sorted};
use shared::wire::{Bitfield, Message};

use super::downloading::ask_in_parts;
use super::{Session, Torrent};
use crate::api::{LinkId, Notice, Priority, Time};

/// Length of the window in which pieces come in order, in bytes: what a player reads in some seconds, and long enough for
/// many peers to work in it.
const WINDOW_BYTES: u64 = 16 << 20;
/// Pieces in the window, at least.
const WINDOW_PIECES: u32 = 8;
/// Urgent pieces that are looked at for one peer.
const MOST_URGENT: usize = 256;
/// What is due in this time, and owed for [`OWED_FOR`], is asked of a second peer, if that will be quicker.
const SOON: Duration = Duration::from_secs(5);
/// See [`SOON`].
const OWED_FOR: Duration = Duration::from_millis(500);

/// What is wanted of one torrent.
#[derive(Debug)]
pub(super) struct Wishes {
    /// By file.
    files: Vec<Priority>,
    /// Pieces that are not skipped.
    pub(super) wanted: Bitfield,
    /// In sequential mode, the first piece of the window, or one before it that has come.
    front: Option<PieceIndex>,
    /// Where sequential mode begins.
    playhead: Option<PieceIndex>,
    deadlines: SortedSet<(Time, PieceIndex)>,
}

impl Wishes {
    /// Everything, in any order.
    pub(super) fn new(files: usize, pieces: u32) -> Self {
        Self {
            files: vec![Priority::Normal; files],
            wanted: Bitfield::all(pieces),
            front: None,
            playhead: None,
            deadlines: SortedSet::new(),
        }
    }

    /// Whether anything has to come before what is rare.
    fn is_urgent(&self) -> bool {
        self.front.is_some() || !self.deadlines.is_empty()
    }
}

impl Session {
    /// How much a file is wanted, by its place in the metadata. Whether there is such a file; before the metadata is known,
    /// there is none. A piece that two files share is wanted as much as the one that wants it more.
    pub fn set_file_priority(&mut self, now: Time, file: usize, priority: Priority) -> bool {
        self.set_file_priorities(now, &[(file, priority)]) == 1
    }

    /// The same for several files at once, which costs hardly more than for one. How many of them there are.
    pub fn set_file_priorities(&mut self, now: Time, priorities: &[(usize, Priority)]) -> usize {
        let Some(torrent) = &mut self.torrent else { return 0 };
        let was_complete = torrent.is_complete();
        let (mut known, mut changed) = (0, Vec::new());
        for (file, priority) in priorities {
            let Some(before) = torrent.wishes.files.get_mut(*file) else { continue };
            known += 1;
            if std::mem::replace(before, *priority) != *priority {
                changed.push(*file);
            }
        }
        if changed.is_empty() {
            return known;
        }
        let changed = torrent.prioritize_pieces_of(&changed);
        for peer in self.swarm.links.values_mut() {
            for span in peer.give_up(|owed| changed.contains(&owed.span.piece())) {
                peer.say(&Message::Cancel(span.into()));
            }
            if let Some(has) = peer.has() {
                peer.useful = torrent.useful_of(has);
                peer.show_interest(now, peer.useful > 0);
            }
        }
        // Whoever has everything was of no use to one who wanted nothing, and is now.
        self.swarm.stir();
        self.epoch += 1;
        if self.is_complete() && !was_complete {
            self.notice(Notice::Completed);
        } else if was_complete {
            self.look_for_ways(now);
        }
        self.settle(now);
        known
    }

    /// How much a file is wanted.
    pub fn file_priority(&self, file: usize) -> Option<Priority> {
        self.torrent.as_ref()?.wishes.files.get(file).copied()
    }

    /// Fetches in order from this byte of the torrent on, in a window that moves on as pieces come; or, with `None`, in whatever
    /// order is best for the swarm.
    pub fn set_sequential(&mut self, now: Time, from: Option<u64>) {
        let Some(torrent) = &mut self.torrent else { return };
        let piece = from.and_then(|byte| {
            let piece = byte / u64::from(torrent.geometry.piece_length());
            torrent.geometry.piece(u32::try_from(piece).ok()?)
        });
        torrent.wishes.playhead = piece;
        torrent.wishes.front = piece;
        torrent.move_window();
        self.epoch += 1;
        self.settle(now);
    }

    /// These bytes of the torrent are needed at this time: they are fetched before everything without a deadline, and asked of
    /// a second peer if the first lets them wait. What is skipped stays skipped.
    pub fn set_deadline(&mut self, now: Time, bytes: Range<u64>, due: Time) {
        let Some(torrent) = &mut self.torrent else { return };
        let length = u64::from(torrent.geometry.piece_length());
        let end = bytes.end.min(torrent.geometry.total()).div_ceil(length);
        for index in bytes.start / length..end {
            let piece = u32::try_from(index).ok().and_then(|index| torrent.geometry.piece(index));
            let Some(piece) = piece.filter(|piece| !torrent.pieces.have().has(*piece)) else { continue };
            torrent.wishes.deadlines.retain(|(_, other)| *other != piece);
            torrent.wishes.deadlines.insert((due, piece));
        }
        self.epoch += 1;
        self.settle(now);
    }

    /// Nothing is needed by any time.
    pub fn clear_deadlines(&mut self) {
        if let Some(torrent) = &mut self.torrent {
            torrent.wishes.deadlines.clear();
        }
    }

    /// Asks for what is due soon and owed for a while a second time, of the peer that will be quickest.
    pub(super) fn hurry(&mut self, now: Time) {
        let Some(torrent) = self.torrent.as_mut().filter(|torrent| torrent.wishes.is_urgent()) else {
            return;
        };
        let due = torrent.wishes.deadlines.iter().take_while(|(due, _)| due.since(now) <= SOON);
        let mut soon: SortedSet<_> = due.map(|(_, piece)| *piece).take(MOST_URGENT).collect();
        soon.extend(torrent.wishes.front);
        let mut late = Vec::new();
        for (link, peer) in self.swarm.links.iter() {
            let owed = peer.awaited().filter(|owed| soon.contains(&owed.span.piece()));
            let owed = owed.filter(|owed| now.since(owed.asked_at) >= OWED_FOR);
            late.extend(owed.map(|owed| (owed.asked_at, owed.span, *link, peer.time_to_serve(now))));
        }
        for (_, span, debtor, wait) in sorted(late) {
            let can = |link: LinkId, peer: &crate::peer::Peer| {
                link != debtor
                    && peer.may_be_asked()
                    && !peer.snubbed
                    && peer.serves(span.piece())
                    && torrent.pieces.may_ask(span.piece(), link)
            };
            let others = self.swarm.links.iter().filter(|(link, peer)| can(**link, peer));
            let quickest = others
                .map(|(link, peer)| (peer.time_to_serve(now), *link))
                .min()
                .filter(|(other, _)| *other < wait / 2);
            let Some((_, link)) = quickest.filter(|_| torrent.pieces.is_single(span)) else { continue };
            let Some(peer) = self.swarm.links.get_mut(&link) else { continue };
            ask_in_parts(now, torrent, peer, span);
        }
    }
}

impl Torrent {
    /// Whether everything that is wanted is here.
    pub(super) fn is_complete(&self) -> bool {
        let have = self.pieces.have();
        have.is_all() || (!self.wishes.wanted.is_all() && self.wishes.wanted.count_without(have) == 0)
    }

    /// Whether this piece is not skipped.
    pub(super) fn wants(&self, piece: PieceIndex) -> bool {
        self.wishes.wanted.has(piece)
    }

    /// Number of pieces in this set that are wanted and missing.
    pub(super) fn useful_of(&self, has: &Bitfield) -> u32 {
        let have = self.pieces.have();
        if self.wishes.wanted.is_all() {
            return has.count_without(have);
        }
        let useful = |piece: &PieceIndex| has.has(*piece) && self.wants(*piece) && !have.has(*piece);
        self.geometry.pieces().filter(useful).count() as u32
    }

    /// Passes these files' priorities on to their pieces; those that were in flight and are not wanted any more are returned.
    fn prioritize_pieces_of(&mut self, changed: &[usize]) -> SortedSet<PieceIndex> {
        let mut dropped = SortedSet::new();
        let length = u64::from(self.geometry.piece_length());
        let pieces = |start: u64, bytes: u64| match bytes {
            0 => 0..0,
            _ => start / length..(start + bytes - 1) / length + 1,
        };
        // From the first to the last: what lies between gets what it has.
        let ranges = changed.iter().filter_map(|file| self.info.files().get(*file));
        let ranges = ranges.map(|file| pieces(file.offset, file.length)).filter(|range| !range.is_empty());
        let Some(range) = ranges.reduce(|one, other| one.start.min(other.start)..one.end.max(other.end))
        else {
            return dropped;
        };
        let mut priorities = vec![Priority::Skip; (range.end - range.start) as usize];
        // Padding is wanted for nobody's sake.
        let files = self.info.files().iter().zip(&self.wishes.files).filter(|(file, _)| !file.hidden);
        for (other, priority) in files {
            let shared = pieces(other.offset, other.length);
            for index in shared.start.max(range.start)..shared.end.min(range.end) {
                let known = &mut priorities[(index - range.start) as usize];
                *known = (*known).max(*priority);
            }
        }
        for (index, priority) in range.zip(priorities) {
            let Some(piece) = u32::try_from(index).ok().and_then(|index| self.geometry.piece(index)) else {
                break;
            };
            self.picker.prioritize(piece, priority);
            if priority != Priority::Skip {
                self.wishes.wanted.insert(piece);
                continue;
            }
            self.wishes.wanted.remove(piece);
            if self.pieces.give_up(piece) {
                self.picker.offer(piece);
                dropped.insert(piece);
            }
        }
        self.wishes.front = self.wishes.playhead;
        self.move_window();
        dropped
    }

    /// This piece has come, or is gone again.
    pub(super) fn note_change_of(&mut self, piece: PieceIndex) {
        if self.wishes.is_urgent() {
            self.wishes.deadlines.retain(|(_, other)| *other != piece || !self.pieces.have().has(piece));
            self.move_window();
        }
    }

    /// The window begins at the first wanted piece behind the playhead that is missing.
    fn move_window(&mut self) {
        let Some(front) = self.wishes.playhead.and(self.wishes.front) else { return };
        let missing = |piece: &PieceIndex| !self.pieces.have().has(*piece) && self.wants(*piece);
        let behind =
            (front.as_u32()..self.geometry.piece_count()).filter_map(|index| self.geometry.piece(index));
        self.wishes.front = behind.into_iter().find(missing);
    }

    /// What must come first, in this order.
    pub(super) fn urgent(&self) -> Vec<PieceIndex> {
        if !self.wishes.is_urgent() {
            return Vec::new();
        }
        let length = (WINDOW_BYTES / u64::from(self.geometry.piece_length())) as u32;
        let window = self.wishes.front.into_iter().flat_map(|front| {
            let start = front.as_u32();
            (start..start.saturating_add(length.max(WINDOW_PIECES)))
                .map_while(|index| self.geometry.piece(index))
        });
        let due = self.wishes.deadlines.iter().map(|(_, piece)| *piece);
        due.chain(window).filter(|piece| !self.pieces.have().has(*piece)).take(MOST_URGENT).collect()
    }
}
