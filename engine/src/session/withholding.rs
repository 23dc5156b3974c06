//! Upload is off: nobody is given a block, and everything else goes on as before. Peers are told by a choke, as when there are
//! slots for others alone; what they do about that (tit for tat) is their affair.

use shared::wire::Message;

use super::Session;
use super::favouring::end_favour_of;
use super::uploading::refuse;
use crate::api::Time;

impl Session {
    /// Whether peers are given blocks; they are, unless [`SessionConfig::upload`](crate::SessionConfig) says otherwise.
    ///
    /// Off, nobody is unchoked and no pieces are allowed (BEP 6); what was asked for is rejected, and what is being read for
    /// peers is thrown away. On again, slots are given at once.
    pub fn set_upload(&mut self, now: Time, on: bool) {
        let was_on = !std::mem::replace(&mut self.withholds, !on);
        if on == was_on {
            return;
        }
        if on {
            self.choose_whom_to_serve(now);
            let links: Vec<_> = self.swarm.links.keys().copied().collect();
            for link in links {
                self.allow_newcomer(link);
            }
        } else {
            self.withhold();
        }
        self.settle(now);
    }

    /// Everybody is choked, newcomers and those who are being handed over included.
    fn withhold(&mut self) {
        self.uploads.clear();
        let mut spared = 0;
        for peer in self.swarm.links.values_mut() {
            spared += end_favour_of(peer);
            if !peer.am_choking {
                peer.am_choking = true;
                peer.say(&Message::Choke);
            }
            for span in std::mem::take(&mut peer.requests) {
                refuse(peer, span.into());
            }
        }
        self.not_taken(spared);
    }
}
