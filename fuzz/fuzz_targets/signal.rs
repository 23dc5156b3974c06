//! Tracker messages, lists of ICE servers and relay frames from strangers: read or refused, and what was read survives
//! being written.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use shared::limits::MAX_SIGNAL_BYTES;
use shared::relay::{ChannelId, Frame, retarget};
use shared::signal::{Announced, ToPeer, ToTracker, parse_ice_servers};

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(message) = ToTracker::from_json(text) {
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
