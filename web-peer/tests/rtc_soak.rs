//! Direct links that come and go, in one page of a real browser: more than Chromium allows at a time, 500 connections. A
//! page of its own, since every connection counts.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, reason = "clippy does not see that these are tests")]

use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use futures::future::{Either, select};
use futures::{FutureExt as _, StreamExt as _};
use js_sys::Function;
use shared::signal::SessionDescription;
use wasm_bindgen::JsValue;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_peer::transport::rtc::{RtcEnd, RtcEvent, RtcId, RtcLinks};

wasm_bindgen_test_configure!(run_in_browser);

/// Good enough for us, and not for the browser.
const RUBBISH: &str = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n";

fn end() -> (RtcLinks, UnboundedReceiver<(RtcId, RtcEvent)>) {
    let (tell, events) = unbounded();
    (RtcLinks::new(move |id, event| tell.unbounded_send((id, event)).unwrap()), events)
}

#[wasm_bindgen_test]
async fn connections_that_are_closed_and_not_collected_leave_room_for_new_ones() {
    // As many as the browser makes, kept from collection and then let go.
    let script = "const kept = [];
        try { while (kept.length < 5000) kept.push(new RTCPeerConnection()); } catch (error) {}
        for (const peer of kept) peer.close();
        let refused = false;
        try { new RTCPeerConnection().close(); } catch (error) { refused = true; }
        return refused;";
    let refused = Function::new_no_args(script).call0(&JsValue::NULL).unwrap();
    assert_eq!(refused, true, "this browser has no such limit any more");
    let (mut links, mut events) = end();
    let id = links.offer(&[]).unwrap();
    let described = events.next().await.unwrap();
    assert!(matches!(described, (at, RtcEvent::Described(_)) if at == id), "{described:?}");
}

#[wasm_bindgen_test]
async fn three_hundred_links_come_and_go_in_one_page() {
    const ROUNDS: usize = 30;
    const AT_ONCE: usize = 10;
    let ((mut a, mut at_a_events), (mut b, mut at_b_events)) = (end(), end());
    for round in 0..ROUNDS {
        let mut pairs = Vec::new();
        for _ in 0..AT_ONCE {
            pairs.push((a.offer(&[]).unwrap(), None));
        }
        let mut open = 0;
        while open < 2 * AT_ONCE {
            match select(at_a_events.next(), at_b_events.next()).await {
                Either::Left((event, _)) => match event.unwrap() {
                    (id, RtcEvent::Described(offer)) => {
                        let pair = pairs.iter_mut().find(|pair| pair.0 == id).unwrap();
                        pair.1 = Some(b.answer(&[], &offer).unwrap());
                    }
                    (_, RtcEvent::Opened) => open += 1,
                    other => panic!("round {round}: {other:?}"),
                },
                Either::Right((event, _)) => match event.unwrap() {
                    (id, RtcEvent::Described(answer)) => {
                        let pair = pairs.iter().find(|pair| pair.1 == Some(id)).unwrap();
                        a.accept(pair.0, &answer);
                    }
                    (_, RtcEvent::Opened) => open += 1,
                    other => panic!("round {round}: {other:?}"),
                },
            }
        }
        // One side closes, in turns.
        for (n, (at_a, at_b)) in pairs.iter().enumerate() {
            let at_b = at_b.unwrap();
            if n % 2 == 0 { a.close(*at_a) } else { b.close(at_b) }
        }
        for events in [&mut at_a_events, &mut at_b_events] {
            for _ in 0..AT_ONCE / 2 {
                assert!(matches!(events.next().await.unwrap(), (_, RtcEvent::Closed(RtcEnd::ByPeer))));
            }
        }
        // Now and then somebody sends rubbish.
        let rubbish = SessionDescription { kind: "offer".into(), sdp: RUBBISH.into() };
        let id = b.answer(&[], &rubbish).unwrap();
        let closed = at_b_events.next().await.unwrap();
        assert!(
            matches!(closed, (at, RtcEvent::Closed(RtcEnd::BadDescription(_))) if at == id),
            "{closed:?}"
        );
        assert_eq!((a.open_count(), b.open_count()), (0, 0));
    }
    assert_eq!(a.made() + b.made(), (2 * ROUNDS * AT_ONCE + ROUNDS) as u64);
    assert!(at_a_events.next().now_or_never().is_none() && at_b_events.next().now_or_never().is_none());
}
