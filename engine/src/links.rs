//! The links of one session, in the order of their ids, which is that in which they opened.
//!
//! Every event ends with questions about all links: who has something to say, who could be asked for a block, who waits for one?
//! Nearly always the answers are those of the event before, and a [`Peer`] is large. So beside the peers there is an
//! [`Outline`] of each, drawn anew only when somebody had the peer in hand to change it.

use crate::api::LinkId;
use crate::peer::{Outline, Peer};

/// What iterators are made of: a link's id, and its peer.
type Entry = (LinkId, Box<Peer>);

/// All links.
///
/// Invariant: `entries` are sorted by id; an outline is that of the entry at the same place, unless it is marked as stale.
#[derive(Debug, Default)]
pub(crate) struct Links {
    entries: Vec<Entry>,
    outlines: Vec<Outline>,
}

impl Links {
    /// Number of links.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether there is this link.
    pub(crate) fn contains_key(&self, link: &LinkId) -> bool {
        self.place(*link).is_ok()
    }

    /// The peer at this link.
    pub(crate) fn get(&self, link: &LinkId) -> Option<&Peer> {
        Some(&self.entries[self.place(*link).ok()?].1)
    }

    /// The peer at this link.
    pub(crate) fn get_mut(&mut self, link: &LinkId) -> Option<&mut Peer> {
        let place = self.place(*link).ok()?;
        Some(self.at_mut(place).1)
    }

    /// The id of the link at this place, counted from zero.
    ///
    /// # Panics
    /// If there are not so many.
    pub(crate) fn id(&self, place: usize) -> LinkId {
        self.entries[place].0
    }

    /// The link at this place, counted from zero.
    ///
    /// # Panics
    /// If there are not so many.
    pub(crate) fn at_mut(&mut self, place: usize) -> (LinkId, &mut Peer) {
        self.outlines[place].stale = true;
        let (link, peer) = &mut self.entries[place];
        (*link, peer)
    }

    /// One more link; or another peer at a link that is there.
    pub(crate) fn insert(&mut self, link: LinkId, peer: Peer) {
        let peer = Box::new(peer);
        let outline = peer.outline();
        match self.place(link) {
            Ok(place) => {
                self.entries[place].1 = peer;
                self.outlines[place] = outline;
            }
            Err(place) => {
                self.entries.insert(place, (link, peer));
                self.outlines.insert(place, outline);
            }
        }
    }

    /// Takes a link away.
    pub(crate) fn remove(&mut self, link: &LinkId) -> Option<Peer> {
        let place = self.place(*link).ok()?;
        self.outlines.remove(place);
        Some(*self.entries.remove(place).1)
    }

    /// Every link's id.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &LinkId> {
        self.entries.iter().map(|(link, _)| link)
    }

    /// Every link's peer.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Peer> {
        self.entries.iter().map(|(_, peer)| &**peer)
    }

    /// Every link's peer. All their outlines have to be drawn anew after this.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.iter_mut().map(|(_, peer)| peer)
    }

    /// Every link.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&LinkId, &Peer)> {
        self.entries.iter().map(|(link, peer)| (link, &**peer))
    }

    /// Every link. All their outlines have to be drawn anew after this.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&LinkId, &mut Peer)> {
        let Self { entries, outlines } = self;
        let marked = outlines.iter_mut().map(|outline| outline.stale = true);
        entries.iter_mut().zip(marked).map(|((link, peer), ())| (&*link, &mut **peer))
    }

    /// What there is to know of every link at a glance; each at its place.
    pub(crate) fn outlines(&mut self) -> &[Outline] {
        for (outline, (_, peer)) in self.outlines.iter_mut().zip(&self.entries) {
            if outline.stale {
                *outline = peer.outline();
            }
        }
        &self.outlines
    }

    /// What there was to know of the link at this place when [`Self::outlines`] was called last.
    ///
    /// # Panics
    /// If there are not so many.
    pub(crate) fn outline(&self, place: usize) -> Outline {
        self.outlines[place]
    }

    fn place(&self, link: LinkId) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&link, |(other, _)| *other)
    }
}
