//! What carries the bytes: a line a node, with a rate up and another down that all of its links share fairly; links with
//! latency; and a relay with a rate of its own. Knows messages by their length alone, and times by what it is told.
//!
//! A message waits at its sender's end of the link, goes up in grains, those of all links of the node by turns, and is
//! complete at the other side when its last byte is: after the latency, and not before the line down has taken it. So
//! an idle line down costs no time, and a busy one takes messages one after the other. So many bytes may be under way on
//! one link, as with a sender that counts acknowledgements: a slow receiver stops those who send to it, and nobody else.

use std::collections::VecDeque;
use std::time::Duration;

use engine::{LinkId, Time, Transport};

use crate::parcel::Parcel;

/// What goes up at once, out of as many links as it takes: what comes out of one event costs little.
const GRAIN: usize = 16 << 10;
/// A message up to this length that finds its link empty goes before those of busy links, as routers with fair queues
/// treat a sparse flow.
const SPARSE: usize = 4 << 10;
/// Bytes that came over a relay channel, after which their sender is given credit for them (the page's step).
const CREDIT_STEP: usize = 128 << 10;
/// With so many bytes of whole messages gone up and not come down, a link sends no further one.
const UNDER_WAY: usize = 128 << 10;

/// Bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) up: u64,
    pub(crate) down: u64,
}

/// What the traffic wants to be told, and when.
#[derive(Debug)]
pub(crate) enum Step {
    /// [`Traffic::went_up`].
    WentUp { node: usize },
    /// [`Traffic::reached_relay`].
    ReachedRelay { to: LinkId, parcel: Parcel },
    /// [`Traffic::came`].
    Came { to: LinkId, parcel: Parcel },
    /// [`Traffic::taken`], and then the session.
    Taken { to: LinkId, parcel: Parcel },
    /// [`Traffic::credited`], and then the session.
    Credited { to: LinkId, bytes: usize },
}

/// One end of a link, as a sender.
#[derive(Debug, Default)]
struct End {
    queue: VecDeque<Parcel>,
    queued: usize,
    /// Of the first message in the queue.
    gone: usize,
    under_way: usize,
    /// In its node's round.
    listed: bool,
    /// Bytes that were given since its node was told of its room.
    untold: usize,
    /// Bytes that waited when it was told last.
    told: usize,
    /// It is told when so few bytes wait.
    threshold: usize,
    /// Of a relay channel with credit, bytes that were sent and not credited.
    unpaid: usize,
    /// Of those, bytes that came and are to be credited.
    owed: usize,
}

impl End {
    /// When the page's data channels tell of room: when the buffer is half empty, if it was fuller; as soon as anything more is
    /// gone, if half of it was given since; else when nothing is left.
    fn set_threshold(&mut self, buffer: usize) {
        self.threshold = match self.queued {
            queued if queued > buffer / 2 => buffer / 2,
            queued if self.untold >= buffer / 2 => queued.saturating_sub(1),
            _ => 0,
        };
    }
}

/// Its ends are numbered 2n and 2n + 1.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) nodes: [usize; 2],
    pub(crate) transport: Transport,
    latency: Duration,
    ends: [End; 2],
}

#[derive(Debug)]
struct Station {
    line: Line,
    /// Ends with something to send, in their turns.
    round: VecDeque<LinkId>,
    /// What is going up: a part of the first message of each of these ends.
    sending: Vec<(LinkId, usize)>,
    down_free_at: Time,
    links: Vec<u64>,
    sent: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Traffic {
    stations: Vec<Station>,
    links: Vec<Option<Link>>,
    /// Bytes that a link's end holds before it says that it has no room.
    buffer: usize,
    /// Bytes that may be under way on a relay channel, which are credited as they come; else those are like direct links.
    window: Option<usize>,
    /// Bytes a second of the relay, all links together.
    relay: Option<u64>,
    relay_free_at: Time,
    /// Bytes that it carried.
    pub(crate) relayed: u64,
    steps: Vec<(Time, Step)>,
}

impl Traffic {
    pub(crate) fn new(buffer: usize, relay: Option<u64>, window: Option<usize>) -> Self {
        Self { buffer, relay, window, ..Self::default() }
    }

    /// One more node; they are numbered from zero.
    pub(crate) fn join(&mut self, line: Line) {
        self.stations.push(Station {
            line,
            round: VecDeque::new(),
            sending: Vec::new(),
            down_free_at: Time::default(),
            links: Vec::new(),
            sent: 0,
        });
    }

    /// Links two nodes; the number of the first one's end, which is even.
    pub(crate) fn link(&mut self, nodes: [usize; 2], transport: Transport, latency: Duration) -> LinkId {
        let number = self.links.len() as u64;
        self.links.push(Some(Link { nodes, transport, latency, ends: Default::default() }));
        for node in nodes {
            self.stations[node].links.push(number);
        }
        LinkId(number * 2)
    }

    /// The link of this end, if it is there still.
    pub(crate) fn get(&self, end: LinkId) -> Option<&Link> {
        self.links[(end.0 / 2) as usize].as_ref()
    }

    /// Whose end this is, if it is there still.
    pub(crate) fn owner(&self, end: LinkId) -> Option<usize> {
        self.get(end).map(|link| link.nodes[(end.0 % 2) as usize])
    }

    /// Links that are there, as one of their ends.
    pub(crate) fn links_of(&self, node: usize) -> Vec<LinkId> {
        self.stations[node].links.iter().map(|number| LinkId(number * 2)).collect()
    }

    /// All links that are there, as one of their ends.
    pub(crate) fn all_links(&self) -> Vec<LinkId> {
        let there = self.links.iter().enumerate().filter(|(_, link)| link.is_some());
        there.map(|(number, _)| LinkId(number as u64 * 2)).collect()
    }

    /// Ends a link; what is on the way is lost.
    pub(crate) fn cut(&mut self, end: LinkId) -> Option<Link> {
        let number = end.0 / 2;
        let link = self.links[number as usize].take()?;
        for node in link.nodes {
            self.stations[node].links.retain(|other| *other != number);
        }
        Some(link)
    }

    /// Bytes that went up this node's line, of all links.
    pub(crate) fn sent(&self, node: usize) -> u64 {
        self.stations[node].sent
    }

    /// Room on a link that nothing was sent on.
    pub(crate) fn room(&self, transport: Transport) -> usize {
        self.window.filter(|_| transport == Transport::Relay).unwrap_or(self.buffer)
    }

    /// What to be told next.
    pub(crate) fn steps(&mut self) -> std::vec::Drain<'_, (Time, Step)> {
        self.steps.drain(..)
    }

    /// A message is sent from this end.
    pub(crate) fn send(&mut self, now: Time, from: LinkId, parcel: Parcel) {
        let Some(link) = &mut self.links[(from.0 / 2) as usize] else { return };
        let side = (from.0 % 2) as usize;
        let end = &mut link.ends[side];
        let is_sparse = end.queue.is_empty() && parcel.len() <= SPARSE;
        end.queued += parcel.len();
        end.untold += parcel.len();
        end.unpaid += parcel.len();
        end.set_threshold(self.buffer);
        end.queue.push_back(parcel);
        if !end.listed && end.under_way < UNDER_WAY {
            end.listed = true;
            let station = &mut self.stations[link.nodes[side]];
            if is_sparse {
                station.round.push_front(from);
            } else {
                station.round.push_back(from);
            }
            self.go_up(now, link_owner(&self.links, from));
        }
    }

    /// The line up takes its next grain, if it is free.
    fn go_up(&mut self, now: Time, node: usize) {
        let station = &mut self.stations[node];
        if !station.sending.is_empty() {
            return;
        }
        let mut total = 0;
        while total < GRAIN
            && let Some(from) = station.round.pop_front()
        {
            let Some(link) = &self.links[(from.0 / 2) as usize] else { continue };
            let end = &link.ends[(from.0 % 2) as usize];
            let Some(message) = end.queue.front() else { continue };
            let part = (message.len() - end.gone).min(GRAIN - total);
            station.sending.push((from, part));
            total += part;
        }
        if total > 0 {
            self.steps.push((now + time_of(total, station.line.up), Step::WentUp { node }));
        }
    }

    /// A grain has gone up. The ends that have room now, and how much, if their node should be told.
    pub(crate) fn went_up(&mut self, now: Time, node: usize) -> Vec<(LinkId, usize)> {
        let mut rooms = Vec::new();
        let mut sending = std::mem::take(&mut self.stations[node].sending);
        for (from, part) in sending.drain(..) {
            self.stations[node].sent += part as u64;
            let Some(link) = &mut self.links[(from.0 / 2) as usize] else { continue };
            let end = &mut link.ends[(from.0 % 2) as usize];
            end.gone += part;
            end.queued -= part;
            if end.queue.front().is_some_and(|message| message.len() == end.gone) {
                end.gone = 0;
                if let Some(parcel) = end.queue.pop_front() {
                    end.under_way += parcel.len();
                    let to = LinkId(from.0 ^ 1);
                    self.steps.push(match link.transport {
                        Transport::Relay if self.relay.is_some() => {
                            (now + link.latency / 2, Step::ReachedRelay { to, parcel })
                        }
                        Transport::Relay => {
                            self.relayed += parcel.len() as u64;
                            (now + link.latency, Step::Came { to, parcel })
                        }
                        Transport::Direct => (now + link.latency, Step::Came { to, parcel }),
                    });
                }
            }
            // Of small messages alone there would be too much to tell, of too little.
            let tells = link.transport == Transport::Direct || self.window.is_none();
            if tells && end.queued <= end.threshold && end.untold + end.told > SPARSE {
                end.untold = 0;
                end.told = end.queued;
                end.set_threshold(self.buffer);
                rooms.push((from, self.buffer - end.queued));
            }
            end.listed = !end.queue.is_empty() && end.under_way < UNDER_WAY;
            if end.listed {
                self.stations[node].round.push_back(from);
            }
        }
        self.stations[node].sending = sending;
        self.go_up(now, node);
        rooms
    }

    /// A message is whole at the relay, which passes them on one after the other.
    pub(crate) fn reached_relay(&mut self, now: Time, to: LinkId, parcel: Parcel) {
        let Some(link) = &self.links[(to.0 / 2) as usize] else { return };
        self.relayed += parcel.len() as u64;
        let rate = self.relay.unwrap_or(u64::MAX);
        self.relay_free_at = self.relay_free_at.max(now) + time_of(parcel.len(), rate);
        self.steps.push((self.relay_free_at + link.latency / 2, Step::Came { to, parcel }));
    }

    /// A message is whole at the line down of its receiver. It, if the line has taken it already.
    pub(crate) fn came(&mut self, now: Time, to: LinkId, parcel: Parcel) -> Option<Parcel> {
        let node = self.owner(to)?;
        let station = &mut self.stations[node];
        let takes = time_of(parcel.len(), station.line.down);
        // The line down has taken what came before while the rest was still going up.
        let began = Time::since_start(now.as_duration().saturating_sub(takes)).max(station.down_free_at);
        station.down_free_at = began + takes;
        if station.down_free_at <= now {
            return Some(parcel);
        }
        self.steps.push((station.down_free_at, Step::Taken { to, parcel }));
        None
    }

    /// The receiver has a message of this length.
    pub(crate) fn taken(&mut self, now: Time, to: LinkId, len: usize) {
        let from = LinkId(to.0 ^ 1);
        let Some(link) = &mut self.links[(from.0 / 2) as usize] else { return };
        let side = (from.0 % 2) as usize;
        let end = &mut link.ends[side];
        end.under_way -= len;
        if link.transport == Transport::Relay && self.window.is_some() {
            end.owed += len;
            if end.owed >= CREDIT_STEP {
                let bytes = std::mem::take(&mut end.owed);
                self.steps.push((now + link.latency, Step::Credited { to: from, bytes }));
            }
        }
        if !end.listed && !end.queue.is_empty() && end.under_way < UNDER_WAY {
            end.listed = true;
            let node = link.nodes[side];
            // It may be this end's grain that is going up.
            self.stations[node].round.push_back(from);
            self.go_up(now, node);
        }
    }

    /// This end's node has credit for so many bytes more. Its room, if the link is there still.
    pub(crate) fn credited(&mut self, to: LinkId, bytes: usize) -> Option<usize> {
        let link = self.links[(to.0 / 2) as usize].as_mut()?;
        let end = &mut link.ends[(to.0 % 2) as usize];
        end.unpaid -= bytes;
        Some(self.window?.saturating_sub(end.unpaid))
    }
}

fn link_owner(links: &[Option<Link>], end: LinkId) -> usize {
    links[(end.0 / 2) as usize].as_ref().map_or(0, |link| link.nodes[(end.0 % 2) as usize])
}

fn time_of(bytes: usize, rate: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / rate as f64)
}
