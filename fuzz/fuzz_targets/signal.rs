//! Tracker messages, lists of ICE servers and relay frames from strangers: read or refused, and what was read survives
//! being written. Messages to a tracker are also read as the tracker does, which passes session descriptions on as they came.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use shared::limits::MAX_SIGNAL_BYTES;
use shared::relay::{ChannelId, Frame, retarget};
use shared::signal::{
    Announced, Forwarded, SessionDescription, SignalError, ToPeer, ToTracker, parse_ice_servers,
};
use shared::{InfoHash, OfferId, PeerId};

// The tracker's own file, and nothing else of it: its crate is a server, with all that servers are made of.
#[path = "../../tracker/src/signal.rs"]
#[rustfmt::skip]
#[allow(dead_code, reason = "the names that the tracker alone uses")]
mod tracker;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        let message = ToTracker::from_json(text);
        as_trackers_read(text, &message);
        if let Ok(message) = message {
            let written = message.to_json();
            if written.len() <= MAX_SIGNAL_BYTES {
                assert_eq!(ToTracker::from_json(&written), Ok(message));
            }
        }
        if let Ok(message) = ToPeer::from_json(text) {
            // What reaches `RTCPeerConnection` is what it takes.
            if let ToPeer::Announced(Announced { enxame: Some(reply), .. }) = &message {
                assert!(reply.ice.iter().flatten().all(|server| server.check().is_ok()));
            }
            let written = message.to_json();
            if written.len() <= MAX_SIGNAL_BYTES {
                assert_eq!(ToPeer::from_json(&written), Ok(message));
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(servers) = parse_ice_servers(text)
    {
        assert!(servers.iter().all(|server| server.check().is_ok()));
    }
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(frame) = Frame::decode(bytes.clone()) {
        assert_eq!(frame.encode(), bytes);
        let moved = retarget(bytes, ChannelId(7));
        match (frame, Frame::decode(moved)) {
            (Frame::Data { payload, .. }, Ok(Frame::Data { channel, payload: moved })) => {
                assert_eq!((channel, moved), (ChannelId(7), payload));
            }
            (Frame::Credit { bytes, .. }, Ok(Frame::Credit { channel, bytes: moved })) => {
                assert_eq!((channel, moved), (ChannelId(7), bytes));
            }
            other => panic!("retargeting changed the kind: {other:?}"),
        }
    }
});

/// A tracker takes the same messages, and the descriptions that it passes on are the same texts.
fn as_trackers_read(text: &str, plain: &Result<ToTracker, SignalError>) {
    let (plain, read) = match (plain, tracker::ToTracker::read(text)) {
        (Ok(plain), Ok(read)) => (plain, read),
        (Err(_), Err(_)) => return,
        (plain, read) => panic!("{plain:?}, but a tracker reads {read:?}"),
    };
    let (plain, read) = (descriptions(plain), descriptions(&read));
    assert_eq!(plain.len(), read.len());
    for (plain, read) in plain.into_iter().zip(read) {
        assert_eq!((&plain.kind, &plain.sdp), (&read.kind, &read.sdp.to_text()));
        let forwarded = Forwarded {
            info_hash: InfoHash::new([1; 20]),
            peer_id: PeerId::new([2; 20]),
            offer_id: OfferId::new([3; 20]),
            description: read.clone(),
        };
        let mut json = Vec::new();
        let is_offer = read.kind == "offer";
        let message = if is_offer { ToPeer::Offer(forwarded) } else { ToPeer::Answer(forwarded) };
        message.write_json(&mut json);
        if json.len() > MAX_SIGNAL_BYTES {
            continue;
        }
        let json = String::from_utf8(json).expect("JSON is text");
        match ToPeer::from_json(&json) {
            Ok(ToPeer::Offer(heard)) if is_offer => assert_eq!(&heard.description, plain),
            Ok(ToPeer::Answer(heard)) if !is_offer => assert_eq!(&heard.description, plain),
            other => panic!("{json} is heard as {other:?}"),
        }
    }
}

/// The session descriptions in a message, in order.
fn descriptions<S>(message: &ToTracker<S>) -> Vec<&SessionDescription<S>> {
    match message {
        ToTracker::Announce(announce) => announce.offers.iter().map(|offer| &offer.offer).collect(),
        ToTracker::Offer(offer) => vec![&offer.offer],
        ToTracker::Answer(answer) => vec![&answer.answer],
        _ => Vec::new(),
    }
}
