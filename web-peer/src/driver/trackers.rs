//! The trackers that this tab talks to: the page's own, and those that its torrents name. One socket for each address,
//! however many torrents use it.
//!
//! Beside them stand other nodes of the own tracker's cluster, to which it sent this tab for relay channels (`visits`): sockets of
//! the same kind, to which nothing is announced.
//!
//! All of a torrent's trackers are told of it at the same time (as WebTorrent does, and unlike BEP 12's tiers, which would
//! split a swarm): when one fails the others go on, and when it comes back it is told again.

use engine::Time;
use shared::order::SortedMap;
use shared::signal::{IceServer, RelayVisit};

use super::announcer::Announcer;
use crate::snapshot::{TrackerKind, TrackerState};
use crate::transport::backoff::Backoff;
use crate::transport::relay::RelayChannels;
use crate::transport::socket::TrackerSocket;

/// Most trackers of one torrent, besides the page's own, that are used; magnets with dozens are common, and most of those
/// lead nowhere.
pub(super) const MAX_TORRENT_TRACKERS: usize = 8;
/// Most trackers in all: each is a socket.
const MAX_TRACKERS: usize = 32;
/// Most other nodes of the own tracker's cluster with a socket; peers at further ones are reached through the own tracker.
const MAX_NODES: usize = 8;
/// Most nodes that were out of reach and are left alone for a while. With so many it is this side that cannot get out, and
/// one more would be waited for in vain.
const MAX_LEFT_ALONE: usize = 32;

/// Names one tracker of this tab; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TrackerId(u32);

/// One tracker.
pub(super) struct Tracker {
    pub(super) id: TrackerId,
    pub(super) url: String,
    pub(super) socket: Option<TrackerSocket>,
    /// Numbers the sockets, so that an old one's last words are told apart.
    pub(super) number: u32,
    pub(super) state: TrackerState,
    pub(super) backoff: Backoff,
    /// When to give up the attempt under way, or to start the next.
    pub(super) due: Option<Time>,
    /// The relay channels inside the socket.
    pub(super) relay: RelayChannels,
    /// Whether it speaks our extension, once it has replied to an announce.
    pub(super) kind: Option<TrackerKind>,
    /// The ICE servers that it hands out.
    pub(super) ice: Option<Vec<IceServer>>,
    /// The torrents that are announced to it, by their keys.
    pub(super) memberships: SortedMap<u32, Membership>,
    /// Of another node of the cluster: what is to be said there first. `None` for trackers.
    pub(super) visits: Option<Vec<RelayVisit>>,
}

/// One torrent at one tracker.
#[derive(Debug, Default)]
pub(super) struct Membership {
    pub(super) announcer: Announcer,
    /// How many offers the next announce should carry, as far as there are.
    pub(super) offers_wanted: usize,
    /// The last announce carried offers.
    pub(super) offered: bool,
    /// Seeders, as the tracker counts.
    pub(super) complete: u32,
    /// Leechers, as the tracker counts.
    pub(super) incomplete: u32,
    /// What it last said against us.
    pub(super) failure: Option<String>,
}

impl Tracker {
    pub(super) fn is_connected(&self) -> bool {
        self.state == TrackerState::Connected
    }

    /// Whether relay channels can be asked for.
    pub(super) fn relays(&self) -> bool {
        self.is_connected() && self.kind == Some(TrackerKind::Enxame)
    }

    /// Whether it is known to speak WebTorrent's protocol alone.
    pub(super) fn is_foreign(&self) -> bool {
        self.kind == Some(TrackerKind::WebTorrent)
    }

    /// Whether it is only another node of the own tracker's cluster.
    pub(super) fn is_node(&self) -> bool {
        self.visits.is_some()
    }

    /// Whether it is a node that was out of reach, and has to wait until it is tried again.
    pub(super) fn is_left_alone(&self) -> bool {
        self.is_node() && self.socket.is_none() && self.due.is_some()
    }

    /// A torrent takes part in its swarm from now on.
    pub(super) fn join(&mut self, now: Time, key: u32) {
        let connected = self.is_connected();
        let membership = self.memberships.get_or_insert_with(key, Membership::default);
        if connected {
            membership.announcer.connected(now);
        }
    }

    /// When something is to be done here.
    pub(super) fn deadline(&self) -> Option<Time> {
        let announces = self
            .memberships
            .values()
            .flat_map(|membership| [membership.announcer.due(), membership.announcer.dead_at()]);
        announces.chain([self.due]).flatten().min()
    }

    /// Whether an announce has gone without an answer for so long that the connection must be dead.
    pub(super) fn is_mute(&self, now: Time) -> bool {
        let mut deadlines = self.memberships.values().filter_map(|membership| membership.announcer.dead_at());
        deadlines.any(|dead| dead <= now)
    }
}

/// All trackers. The first is the page's own, and always there.
pub(super) struct Trackers {
    all: Vec<Tracker>,
    next: u32,
}

impl Trackers {
    /// Only the page's own.
    pub(super) fn new(own: &str) -> Self {
        let mut trackers = Self { all: Vec::new(), next: 0 };
        trackers.push(own);
        trackers
    }

    fn push(&mut self, url: &str) -> TrackerId {
        let id = TrackerId(self.next);
        self.next += 1;
        self.all.push(Tracker {
            id,
            url: url.to_owned(),
            socket: None,
            number: 0,
            state: TrackerState::Connecting,
            backoff: Backoff::default(),
            due: None,
            relay: RelayChannels::default(),
            kind: None,
            ice: None,
            memberships: SortedMap::new(),
            visits: None,
        });
        id
    }

    /// The page's own.
    pub(super) fn own(&self) -> &Tracker {
        &self.all[0]
    }

    pub(super) fn get(&self, id: TrackerId) -> Option<&Tracker> {
        self.all.iter().find(|tracker| tracker.id == id)
    }

    pub(super) fn get_mut(&mut self, id: TrackerId) -> Option<&mut Tracker> {
        self.all.iter_mut().find(|tracker| tracker.id == id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Tracker> {
        self.all.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Tracker> {
        self.all.iter_mut()
    }

    /// One torrent at each of its trackers.
    pub(super) fn memberships(&mut self, key: u32) -> impl Iterator<Item = &mut Membership> {
        self.all.iter_mut().filter_map(move |tracker| tracker.memberships.get_mut(&key))
    }

    pub(super) fn ids(&self) -> Vec<TrackerId> {
        self.all.iter().map(|tracker| tracker.id).collect()
    }

    /// Those that a torrent with these addresses uses, the page's own first. New ones are in the list from now on, without a
    /// socket, and due at once.
    pub(super) fn take(&mut self, now: Time, urls: &[String]) -> Vec<TrackerId> {
        let mut taken = vec![self.own().id];
        for url in urls {
            if taken.len() > MAX_TORRENT_TRACKERS {
                break;
            }
            let id = match self.known(url, false) {
                Some(id) => id,
                None if self.count(false) >= MAX_TRACKERS => continue,
                None => {
                    let id = self.push(url);
                    if let Some(tracker) = self.get_mut(id) {
                        tracker.due = Some(now);
                    }
                    id
                }
            };
            if !taken.contains(&id) {
                taken.push(id);
            }
        }
        taken
    }

    fn known(&self, url: &str, is_node: bool) -> Option<TrackerId> {
        let known = self.all.iter().find(|tracker| tracker.is_node() == is_node && tracker.url == url);
        known.map(|tracker| tracker.id)
    }

    fn count(&self, nodes: bool) -> usize {
        self.all.iter().filter(|tracker| tracker.is_node() == nodes).count()
    }

    /// The node with this address, which may be new; `None` if there are too many.
    pub(super) fn node(&mut self, url: &str) -> Option<TrackerId> {
        if let Some(known) = self.known(url, true) {
            return Some(known);
        }
        let left_alone = self.all.iter().filter(|tracker| tracker.is_left_alone()).count();
        if self.count(true) - left_alone >= MAX_NODES || left_alone >= MAX_LEFT_ALONE {
            return None;
        }
        let id = self.push(url);
        self.get_mut(id)?.visits = Some(Vec::new());
        Some(id)
    }

    /// Lets go of a node; its socket is closed.
    pub(super) fn forget_node(&mut self, id: TrackerId) {
        self.all.retain(|tracker| tracker.id != id || !tracker.is_node());
    }

    /// Lets go of trackers that no torrent uses any more; their sockets are closed. Their relay channels are closed already,
    /// with the torrents' links.
    pub(super) fn keep(&mut self, used: impl Fn(TrackerId) -> bool) {
        let own = self.own().id;
        self.all.retain(|tracker| tracker.id == own || tracker.is_node() || used(tracker.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| format!("wss://{name}/")).collect()
    }

    #[test]
    fn one_address_is_one_tracker_and_the_own_one_comes_first() {
        let mut trackers = Trackers::new("ws://own/");
        let first = trackers.take(Time::default(), &urls(&["a", "b"]));
        let second = trackers.take(Time::default(), &urls(&["b", "b", "c"]));
        assert_eq!(first[0], trackers.own().id);
        assert_eq!(second[..2], [first[0], first[2]]);
        assert_eq!(trackers.iter().count(), 4);
    }

    #[test]
    fn a_torrent_with_very_many_trackers_uses_the_first_ones() {
        let mut trackers = Trackers::new("ws://own/");
        let names: Vec<_> = (0..100).map(|n| format!("wss://{n}/")).collect();
        assert_eq!(trackers.take(Time::default(), &names).len(), 1 + MAX_TORRENT_TRACKERS);
        for start in 0..10 {
            trackers.take(Time::default(), &names[start * 8..]);
        }
        assert_eq!(trackers.iter().count(), MAX_TRACKERS);
    }

    #[test]
    fn a_tracker_that_nobody_uses_goes_and_the_own_one_stays() {
        let mut trackers = Trackers::new("ws://own/");
        let used = trackers.take(Time::default(), &urls(&["a", "b"]));
        trackers.keep(|id| id == used[2]);
        assert_eq!(trackers.ids(), [used[0], used[2]]);
    }

    #[test]
    fn nodes_are_few_and_none_is_a_tracker_of_a_torrent() {
        let mut trackers = Trackers::new("ws://own/");
        let node = trackers.node("wss://a/").unwrap();
        assert_eq!(trackers.node("wss://a/"), Some(node));
        let used = trackers.take(Time::default(), &urls(&["a"]));
        assert!(!used.contains(&node), "the same address, and another socket");
        let nodes: Vec<_> = (1..MAX_NODES).map(|n| trackers.node(&format!("wss://{n}/"))).collect();
        assert!(nodes.iter().all(Option::is_some));
        assert_eq!(trackers.node("wss://further/"), None);
        // Those out of reach take no place of others.
        trackers.get_mut(node).unwrap().due = Some(Time::default());
        let further = trackers.node("wss://further/").unwrap();
        assert_eq!(trackers.node("wss://a/"), Some(node), "it is known still");
        trackers.forget_node(further);
        trackers.get_mut(node).unwrap().due = None;
        trackers.keep(|_| false);
        assert!(trackers.get(node).is_some(), "what is relayed there goes on");
        trackers.forget_node(node);
        trackers.forget_node(trackers.own().id);
        assert!(trackers.get(node).is_none() && trackers.node("wss://further/").is_some());
        assert_eq!(trackers.own().url, "ws://own/");
    }

    #[test]
    fn nodes_out_of_reach_are_remembered_up_to_a_bound() {
        let mut trackers = Trackers::new("ws://own/");
        for n in 0..MAX_LEFT_ALONE {
            let node = trackers.node(&format!("wss://{n}/")).unwrap();
            trackers.get_mut(node).unwrap().due = Some(Time::default());
        }
        assert_eq!(trackers.node("wss://further/"), None);
        let first = trackers.node("wss://0/").unwrap();
        trackers.forget_node(first);
        assert!(trackers.node("wss://further/").is_some());
    }
}
