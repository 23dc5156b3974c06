//! Direct links between two ends in one page of a real browser, and between one end and a peer of a few lines.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, reason = "clippy does not see that these are tests")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use futures::future::{Either, join, select};
use futures::{FutureExt as _, StreamExt as _};
use gloo_timers::future::TimeoutFuture;
use js_sys::{Function, Object, Promise, Reflect};
use shared::signal::{IceServer, SessionDescription};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_peer::transport::rtc::{
    HIGH_WATER, LOW_WATER, MAX_CONNECTIONS, MESSAGE_BYTES, RtcEnd, RtcError, RtcEvent, RtcId, RtcLinks,
};

wasm_bindgen_test_configure!(run_in_browser);

/// What should happen happens within this; for failures only.
const PATIENCE: u32 = 20_000;

/// One end, and what happens at it.
struct End {
    links: RtcLinks,
    events: UnboundedReceiver<(RtcId, RtcEvent)>,
}

impl End {
    fn new() -> Self {
        let (tell, events) = unbounded();
        Self { links: RtcLinks::new(move |id, event| tell.unbounded_send((id, event)).unwrap()), events }
    }

    async fn next(&mut self) -> (RtcId, RtcEvent) {
        in_time(self.events.next()).await.unwrap()
    }

    async fn described(&mut self, id: RtcId) -> SessionDescription {
        match self.next().await {
            (at, RtcEvent::Described(description)) if at == id => description,
            other => panic!("no description but {other:?}"),
        }
    }

    async fn opened(&mut self, id: RtcId) {
        match self.next().await {
            (at, RtcEvent::Opened) if at == id => {}
            other => panic!("not opened but {other:?}"),
        }
    }

    /// The end of this connection. What else happens on it before is of no interest.
    async fn closed(&mut self, id: RtcId) -> RtcEnd {
        loop {
            match self.next().await {
                (at, RtcEvent::Closed(end)) if at == id => return end,
                (at, _) => assert_eq!(at, id),
            }
        }
    }

    /// The next bytes of this connection.
    async fn data(&mut self, id: RtcId) -> Bytes {
        loop {
            match self.next().await {
                (at, RtcEvent::Data(bytes)) if at == id => return bytes,
                (at, RtcEvent::Room) if at == id => {}
                other => panic!("no data but {other:?}"),
            }
        }
    }

    /// Whatever has happened that nobody looked at, but for room: that is told of whenever what was sent is gone.
    fn rest(&mut self) -> Vec<(RtcId, RtcEvent)> {
        let events = std::iter::from_fn(|| self.events.next().now_or_never().flatten());
        events.filter(|(_, event)| !matches!(event, RtcEvent::Room)).collect()
    }
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    match select(Box::pin(what), TimeoutFuture::new(PATIENCE)).await {
        Either::Left((value, _)) => value,
        Either::Right(_) => panic!("nothing for {PATIENCE} ms"),
    }
}

/// Two ends, linked.
async fn linked() -> (End, RtcId, End, RtcId) {
    let (mut a, mut b) = (End::new(), End::new());
    let at_a = a.links.offer(&[]).unwrap();
    let offer = a.described(at_a).await;
    let at_b = b.links.answer(&[], &offer).unwrap();
    let answer = b.described(at_b).await;
    a.links.accept(at_a, &answer);
    join(a.opened(at_a), b.opened(at_b)).await;
    (a, at_a, b, at_b)
}

/// Runs JavaScript with `x`, awaiting what it returns.
async fn run(script: &str, x: &JsValue) -> JsValue {
    let body = format!("return (async () => {{ {script} }})();");
    let promise: Promise =
        Function::new_with_args("x", &body).call1(&JsValue::NULL, x).unwrap().unchecked_into();
    in_time(JsFuture::from(promise)).await.unwrap()
}

fn get(object: &JsValue, key: &str) -> JsValue {
    Reflect::get(object, &key.into()).unwrap()
}

fn offer(sdp: &str) -> SessionDescription {
    SessionDescription { kind: "offer".into(), sdp: sdp.into() }
}

fn answer(sdp: &str) -> SessionDescription {
    SessionDescription { kind: "answer".into(), sdp: sdp.into() }
}

/// A peer that is not ours: takes the offer `x`; has `sdp`, `peer`, `channel` (a promise of the open one).
const ANSWERER: &str = "const peer = new RTCPeerConnection();
    const channel = new Promise(done => peer.ondatachannel = ({channel}) => channel.onopen = () => done(channel));
    await peer.setRemoteDescription({type: 'offer', sdp: x});
    const gathered = new Promise(done => peer.onicecandidate = ({candidate}) => candidate || done());
    await peer.setLocalDescription(await peer.createAnswer());
    await gathered;
    return {peer, channel, sdp: peer.localDescription.sdp};";

/// A peer that is not ours: makes an offer; has `sdp`, `peer`, `first` and `second` (its channels).
const OFFERER: &str = "const peer = new RTCPeerConnection();
    const [first, second] = [peer.createDataChannel('first'), peer.createDataChannel('second')];
    const gathered = new Promise(done => peer.onicecandidate = ({candidate}) => candidate || done());
    await peer.setLocalDescription(await peer.createOffer());
    await gathered;
    return {peer, first, second, sdp: peer.localDescription.sdp};";

/// One end of ours that is linked to a peer that is not.
async fn linked_to_another() -> (End, RtcId, JsValue) {
    let mut a = End::new();
    let id = a.links.offer(&[]).unwrap();
    let offer = a.described(id).await;
    let other = run(ANSWERER, &offer.sdp.into()).await;
    a.links.accept(id, &answer(&get(&other, "sdp").as_string().unwrap()));
    a.opened(id).await;
    (a, id, other)
}

/// While it lives, the page's connections are kept in `enxameMade`, the first first.
struct Watched(JsValue);

impl Watched {
    async fn new() -> Self {
        let real = "const real = RTCPeerConnection; window.enxameMade = [];
            window.RTCPeerConnection = class extends real {
                constructor(...given) { super(...given); enxameMade.push(this); }
            };
            return real;";
        Self(run(real, &JsValue::NULL).await)
    }

    /// Has the browser say that the newest connection is in this state.
    async fn say(&self, state: &str) {
        let script = "const peer = enxameMade.at(-1);
            Object.defineProperty(peer, 'connectionState', {value: x, configurable: true});
            peer.dispatchEvent(new Event('connectionstatechange'));";
        run(script, &state.into()).await;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = Reflect::set(&js_sys::global(), &"RTCPeerConnection".into(), &self.0);
        let _ = Reflect::delete_property::<Object>(js_sys::global().unchecked_ref(), &"enxameMade".into());
    }
}

/// So many bytes, different everywhere.
fn noise(len: usize, seed: u32) -> Bytes {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[wasm_bindgen_test]
async fn two_ends_exchange_16_mib_intact_and_no_more_than_the_mark_waits() {
    const TOTAL: usize = 16 << 20;
    const BLOCK: usize = 128 * 1024 + 13;
    const { assert!(LOW_WATER < HIGH_WATER) };
    let (mut a, at_a, mut b, at_b) = linked().await;
    assert_eq!(a.links.room(at_a), HIGH_WATER);
    let stream = noise(TOTAL, 7);
    let sender = async {
        let mut left = stream.clone();
        let mut stood = 0;
        while !left.is_empty() {
            if a.links.room(at_a) == 0 {
                stood += 1;
                match a.next().await {
                    (id, RtcEvent::Room) if id == at_a => assert!(a.links.room(at_a) > 0),
                    other => panic!("no room but {other:?}"),
                }
            }
            a.links.send(at_a, left.split_to(left.len().min(BLOCK)));
            assert!(a.links.room(at_a) <= HIGH_WATER);
        }
        assert!(stood > 0, "it never had to wait");
        a
    };
    let receiver = async {
        let mut received = Vec::new();
        while received.len() < TOTAL {
            let bytes = b.data(at_b).await;
            assert!(bytes.len() <= MESSAGE_BYTES);
            received.extend_from_slice(&bytes);
        }
        b.links.send(at_b, Bytes::from_static(b"thanks"));
        (b, received)
    };
    let (mut a, (mut b, received)) = join(sender, receiver).await;
    assert!(received == stream, "the stream was changed");
    assert_eq!(a.data(at_a).await, "thanks");
    assert_eq!(a.links.room(at_a), HIGH_WATER);
    a.links.close(at_a);
    assert_eq!(b.closed(at_b).await, RtcEnd::ByPeer);
}

#[wasm_bindgen_test]
async fn who_counts_its_room_by_itself_is_told_of_more_though_the_buffer_never_filled() {
    let (mut a, at_a, mut b, at_b) = linked().await;
    let block = noise(16 * 1024, 5);
    let mut room = a.links.room(at_a);
    for _ in 0..64 {
        while room == 0 {
            assert!(matches!(a.next().await, (_, RtcEvent::Room)));
            room = a.links.room(at_a);
        }
        a.links.send(at_a, block.clone());
        room = room.saturating_sub(block.len());
        // It arrives before the next one goes.
        assert_eq!(b.data(at_b).await, block);
    }
}

#[wasm_bindgen_test]
async fn what_is_sent_at_once_beyond_the_mark_waits_here_and_not_in_the_browser() {
    let watched = Watched::new().await;
    let record = "window.enxameMost = 0;
        const real = RTCDataChannel.prototype.send;
        RTCDataChannel.prototype.send = function (bytes) {
            real.call(this, bytes);
            enxameMost = Math.max(enxameMost, this.bufferedAmount);
        };
        return real;";
    let real = run(record, &JsValue::NULL).await;
    let (mut a, at_a, mut b, at_b) = linked().await;
    let stream = noise(4 << 20, 8);
    a.links.send(at_a, stream.slice(..1));
    a.links.send(at_a, stream.slice(1..(3 << 20)));
    a.links.send(at_a, stream.slice((3 << 20)..));
    assert_eq!(a.links.room(at_a), 0);
    let mut received = Vec::new();
    while received.len() < stream.len() {
        received.extend_from_slice(&b.data(at_b).await);
    }
    assert!(received == stream, "the stream was changed");
    let most = run("RTCDataChannel.prototype.send = x; return enxameMost;", &real).await;
    let most = most.as_f64().unwrap() as usize;
    assert!((HIGH_WATER..HIGH_WATER + MESSAGE_BYTES).contains(&most), "{most}");
    // Room is told of once it is there again.
    while a.links.room(at_a) == 0 {
        assert!(matches!(a.next().await, (_, RtcEvent::Room)));
    }
    drop(watched);
}

#[wasm_bindgen_test]
async fn an_offer_is_as_other_clients_expect_it() {
    let (a, _, other) = linked_to_another().await;
    let channel = run("return await x.channel", &other).await;
    let label = get(&channel, "label").as_string().unwrap();
    assert!(label.len() == 40 && label.bytes().all(|digit| digit.is_ascii_hexdigit()), "{label}");
    assert_eq!(get(&channel, "ordered"), true);
    assert_eq!(get(&channel, "negotiated"), false);
    assert_eq!(get(&channel, "maxRetransmits"), JsValue::NULL);
    assert_eq!(get(&channel, "maxPacketLifeTime"), JsValue::NULL);
    let remote = get(&get(&get(&other, "peer"), "remoteDescription"), "sdp").as_string().unwrap();
    assert!(remote.contains("a=candidate:") && remote.contains("m=application "));
    assert!(!remote.contains("trickle"));
    let again = End::new().links.offer(&[]).unwrap();
    assert_eq!(again, RtcId(1));
    drop(a);
}

#[wasm_bindgen_test]
async fn only_the_first_channel_of_the_other_side_is_used() {
    let other = run(OFFERER, &JsValue::NULL).await;
    let mut b = End::new();
    let id = b.links.answer(&[], &offer(&get(&other, "sdp").as_string().unwrap())).unwrap();
    let answer = b.described(id).await;
    assert_eq!(answer.kind, "answer");
    assert!(!answer.sdp.contains("trickle"));
    Reflect::set(&other, &"answer".into(), &answer.sdp.into()).unwrap();
    let closed = "const closed = new Promise(done => x.second.onclose = () => done('closed'));
        x.first.onopen = () => x.first.send(Uint8Array.of(1, 2, 3));
        x.got = new Promise(done => x.first.onmessage = ({data}) => done(new Uint8Array(data).join()));
        x.first.binaryType = 'arraybuffer';
        await x.peer.setRemoteDescription({type: 'answer', sdp: x.answer});
        return await closed;";
    assert_eq!(run(closed, &other).await, "closed");
    b.opened(id).await;
    assert_eq!(b.data(id).await, &[1, 2, 3][..]);
    b.links.send(id, Bytes::from_static(&[4, 5]));
    assert_eq!(run("return await x.got", &other).await, "4,5");
    run("x.peer.close()", &other).await;
    b.closed(id).await;
}

#[wasm_bindgen_test]
async fn messages_are_no_longer_than_the_other_side_takes() {
    let mut a = End::new();
    let id = a.links.offer(&[]).unwrap();
    let offer = a.described(id).await;
    let other = run(ANSWERER, &offer.sdp.into()).await;
    let sdp = get(&other, "sdp").as_string().unwrap();
    assert!(sdp.contains("a=max-message-size:262144"));
    a.links.accept(id, &answer(&sdp.replace("a=max-message-size:262144", "a=max-message-size:2000")));
    a.opened(id).await;
    let lengths = "const channel = await x.channel; channel.binaryType = 'arraybuffer';
        const lengths = [];
        x.lengths = new Promise(done => channel.onmessage = ({data}) => {
            lengths.push(data.byteLength);
            if (lengths.reduce((a, b) => a + b) >= 5000) done(lengths.join());
        });";
    run(lengths, &other).await;
    a.links.send(id, noise(5000, 1));
    assert_eq!(run("return await x.lengths", &other).await, "2000,2000,1000");
}

#[wasm_bindgen_test]
async fn garbage_in_place_of_a_description_ends_that_connection_alone() {
    let (mut a, held, mut b, at_b) = linked().await;
    let good = {
        let id = a.links.offer(&[]).unwrap();
        let sdp = a.described(id).await.sdp;
        a.links.close(id);
        sdp
    };
    // The last ones are refused by the browser and not by us.
    let garbage = [
        offer(""),
        offer("garbage"),
        offer(&"v=0\r\n".repeat(20_000)),
        answer(&good),
        offer(&good.replace("a=fingerprint:sha-256", "a=fingerprint:sha-0")),
        offer(&good.replace("o=", "O=")),
        offer("v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"),
    ];
    for description in &garbage {
        let id = a.links.answer(&[], description).unwrap();
        let end = a.closed(id).await;
        assert!(matches!(end, RtcEnd::BadDescription(_)), "{end:?}");
        assert_eq!(a.links.open_count(), 1);
        let id = a.links.offer(&[]).unwrap();
        a.described(id).await;
        a.links.accept(id, &SessionDescription { kind: "answer".into(), sdp: description.sdp.clone() });
        let end = a.closed(id).await;
        assert!(matches!(end, RtcEnd::BadDescription(_)), "{end:?}");
        assert_eq!(a.links.open_count(), 1);
    }
    a.links.send(held, Bytes::from_static(b"still here"));
    assert_eq!(b.data(at_b).await, "still here");
}

#[wasm_bindgen_test]
async fn an_answer_that_nobody_asked_for_is_ignored() {
    let (mut a, mut b) = (End::new(), End::new());
    let at_a = a.links.offer(&[]).unwrap();
    // Too early: nobody has seen the offer.
    a.links.accept(at_a, &answer("garbage"));
    let at_b = b.links.answer(&[], &a.described(at_a).await).unwrap();
    let answered = b.described(at_b).await;
    // For an answerer, for no connection.
    b.links.accept(at_b, &answered);
    a.links.accept(RtcId(99), &answered);
    a.links.accept(at_a, &answered);
    // Twice, and garbage the second time.
    a.links.accept(at_a, &answered);
    a.links.accept(at_a, &answer("garbage"));
    join(a.opened(at_a), b.opened(at_b)).await;
    a.links.accept(at_a, &answer("garbage"));
    a.links.send(at_a, Bytes::from_static(b"hello"));
    assert_eq!(b.data(at_b).await, "hello");
    a.links.close(at_a);
    a.links.accept(at_a, &answered);
    a.links.send(at_a, Bytes::from_static(b"hello"));
    assert_eq!(a.links.room(at_a), 0);
    assert_eq!(b.closed(at_b).await, RtcEnd::ByPeer);
    assert!(a.rest().is_empty());
    assert_eq!((a.links.open_count(), b.links.open_count()), (0, 0));
}

#[wasm_bindgen_test]
async fn a_text_ends_the_link_and_an_empty_message_does_not() {
    let (mut a, id, other) = linked_to_another().await;
    run("const channel = await x.channel; channel.send(new Uint8Array(0)); channel.send('text');", &other)
        .await;
    assert_eq!(a.closed(id).await, RtcEnd::Text);
    assert_eq!(a.links.open_count(), 0);
    run(
        "const channel = await x.channel; if (channel.readyState !== 'closed')
        await new Promise(done => channel.onclose = done);",
        &other,
    )
    .await;
    assert!(a.rest().is_empty());
}

#[wasm_bindgen_test]
async fn a_peer_that_closes_its_channel_or_just_goes_is_noticed() {
    for way in ["(await x.channel).close()", "x.peer.close()"] {
        let (mut a, id, other) = linked_to_another().await;
        run(way, &other).await;
        let end = a.closed(id).await;
        assert_eq!(end, RtcEnd::ByPeer, "{way}");
        assert_eq!(a.links.open_count(), 0);
    }
}

#[wasm_bindgen_test]
async fn a_failed_connection_had_no_path_or_was_lost() {
    let watched = Watched::new().await;
    let mut a = End::new();
    let id = a.links.offer(&[]).unwrap();
    a.described(id).await;
    watched.say("failed").await;
    assert_eq!(a.closed(id).await, RtcEnd::NoPath);
    let (mut a, id, ..) = {
        // The newest connection is the answerer's, so that is the one that is watched.
        let (a, at_a, b, at_b) = linked().await;
        (b, at_b, a, at_a)
    };
    watched.say("failed").await;
    assert_eq!(a.closed(id).await, RtcEnd::Lost);
    assert_eq!(a.links.open_count(), 0);
}

#[wasm_bindgen_test]
async fn a_connection_that_stays_disconnected_is_lost_and_one_that_recovers_is_not() {
    let watched = Watched::new().await;
    let (mut a, at_a, mut b, at_b) = linked().await;
    watched.say("disconnected").await;
    watched.say("connected").await;
    TimeoutFuture::new(3_300).await;
    assert!(b.rest().is_empty());
    a.links.send(at_a, Bytes::from_static(b"still here"));
    assert_eq!(b.data(at_b).await, "still here");
    watched.say("disconnected").await;
    assert_eq!(b.closed(at_b).await, RtcEnd::Lost);
    assert_eq!(a.closed(at_a).await, RtcEnd::ByPeer);
}

#[wasm_bindgen_test]
async fn an_answer_of_nobody_who_can_be_reached_is_given_up_in_time() {
    let (mut a, mut b) = (End::new(), End::new());
    let at_a = a.links.offer(&[]).unwrap();
    let mut offered = a.described(at_a).await;
    offered.sdp = without_candidates(&offered.sdp);
    let at_b = b.links.answer(&[], &offered).unwrap();
    let mut answered = b.described(at_b).await;
    answered.sdp = without_candidates(&answered.sdp);
    // Twenty-five seconds are one tenth of a second here.
    let hurry = "const real = setTimeout;
        window.setTimeout = (act, time, ...given) => real(act, time === 25000 ? 100 : time, ...given);
        return real;";
    let real = run(hurry, &JsValue::NULL).await;
    a.links.accept(at_a, &answered);
    run("window.setTimeout = x", &real).await;
    assert_eq!(a.closed(at_a).await, RtcEnd::TimedOut);
    assert_eq!(a.links.open_count(), 0);
    // The answerer waits by its own clock.
    assert_eq!(b.links.open_count(), 1);
}

fn without_candidates(sdp: &str) -> String {
    sdp.split_inclusive('\n').filter(|line| !line.starts_with("a=candidate")).collect()
}

#[wasm_bindgen_test]
async fn no_more_than_64_are_alive_and_an_ended_one_makes_way() {
    let mut a = End::new();
    let ids: Vec<RtcId> = (0..MAX_CONNECTIONS).map(|_| a.links.offer(&[]).unwrap()).collect();
    assert_eq!(a.links.offer(&[]), Err(RtcError::TooMany));
    assert_eq!(a.links.open_count(), MAX_CONNECTIONS);
    a.links.close(ids[5]);
    let another = a.links.offer(&[]).unwrap();
    assert!(!ids.contains(&another));
    assert_eq!(a.links.made(), MAX_CONNECTIONS as u64 + 1);
}

#[wasm_bindgen_test]
async fn a_browser_without_webrtc_says_so() {
    assert!(RtcLinks::is_available());
    let real = get(&js_sys::global(), "RTCPeerConnection");
    let (mut a, given) = (End::new(), offer("v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"));
    let throwing = "window.RTCPeerConnection = class { constructor() { throw new Error('policy'); } };";
    for removal in ["delete window.RTCPeerConnection;", "window.RTCPeerConnection = undefined;"] {
        run(removal, &JsValue::NULL).await;
        let found = (RtcLinks::is_available(), a.links.offer(&[]), a.links.answer(&[], &given));
        Reflect::set(&js_sys::global(), &"RTCPeerConnection".into(), &real).unwrap();
        assert_eq!(found, (false, Err(RtcError::Unavailable), Err(RtcError::Unavailable)), "{removal}");
    }
    // It worked before, so this is of this one connection.
    run(throwing, &JsValue::NULL).await;
    let found = a.links.offer(&[]);
    Reflect::set(&js_sys::global(), &"RTCPeerConnection".into(), &real).unwrap();
    assert_eq!(found, Err(RtcError::Refused("Error: policy".into())));
    assert_eq!((a.links.open_count(), a.links.made()), (0, 0));
    let id = a.links.offer(&[]).unwrap();
    a.described(id).await;
}

#[wasm_bindgen_test]
async fn ice_servers_reach_the_browser_and_bad_ones_are_its_refusal() {
    let watched = Watched::new().await;
    let server = |url: &str| IceServer {
        urls: vec![url.into()],
        username: Some("somebody".into()),
        credential: Some("secret".into()),
    };
    let mut a = End::new();
    a.links.offer(&[server("turn:127.0.0.1:9")]).unwrap();
    let entry = "const [{urls, username, credential}] = enxameMade.at(-1).getConfiguration().iceServers;
        return [urls, username, credential].join();";
    assert_eq!(run(entry, &JsValue::NULL).await, "turn:127.0.0.1:9,somebody,secret");
    let refused = a.links.offer(&[server("http://127.0.0.1")]).unwrap_err();
    assert!(matches!(&refused, RtcError::Refused(why) if why.starts_with("SyntaxError")), "{refused:?}");
    drop(watched);
}

#[wasm_bindgen_test]
async fn a_description_goes_out_though_a_stun_server_never_answers() {
    // A socket of nobody's: what is sent there comes to nothing.
    let silent = IceServer::open(vec!["stun:127.0.0.1:9".into()]);
    let mut a = End::new();
    let start = js_sys::Date::now();
    let id = a.links.offer(&[silent]).unwrap();
    assert!(!a.described(id).await.sdp.is_empty());
    let took = Duration::from_secs_f64((js_sys::Date::now() - start) / 1000.0);
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[wasm_bindgen_test]
async fn the_owner_may_close_while_it_is_told_something() {
    let (mut a, mut b) = (End::new(), Rc::new(RefCell::new(None::<RtcLinks>)));
    let (tell, mut told) = unbounded();
    let events = Rc::new(Cell::new(0));
    let links = RtcLinks::new({
        let (b, events) = (b.clone(), events.clone());
        move |id, event| match event {
            RtcEvent::Described(description) => tell.unbounded_send(description).unwrap(),
            RtcEvent::Opened => {}
            RtcEvent::Data(_) => {
                events.set(events.get() + 1);
                b.borrow_mut().as_mut().unwrap().close(id);
            }
            other => panic!("{other:?}"),
        }
    });
    *b.borrow_mut() = Some(links);
    let id = a.links.offer(&[]).unwrap();
    let offered = a.described(id).await;
    b.borrow_mut().as_mut().unwrap().answer(&[], &offered).unwrap();
    a.links.accept(id, &in_time(told.next()).await.unwrap());
    a.opened(id).await;
    a.links.send(id, noise(3 * MESSAGE_BYTES, 3));
    assert_eq!(a.closed(id).await, RtcEnd::ByPeer);
    assert_eq!(events.get(), 1);
    assert_eq!(Rc::get_mut(&mut b).map(|_| ()), None, "the handler still has it");
    assert_eq!(b.borrow().as_ref().unwrap().open_count(), 0);
    // The handlers hold no more than the links do.
    *b.borrow_mut() = None;
    TimeoutFuture::new(0).await;
    assert_eq!(Rc::strong_count(&b), 1);
}

#[wasm_bindgen_test]
async fn what_is_closed_says_nothing_more_and_dropping_all_closes_all() {
    let (mut a, at_a, mut b, at_b) = linked().await;
    let bad = a.links.answer(&[], &offer("garbage")).unwrap();
    a.links.close(bad);
    let unused = a.links.offer(&[]).unwrap();
    a.links.close(unused);
    TimeoutFuture::new(0).await;
    a.links.send(at_a, Bytes::from_static(b"hello"));
    assert_eq!(b.data(at_b).await, "hello");
    assert!(a.rest().is_empty());
    drop(a);
    assert_eq!(b.closed(at_b).await, RtcEnd::ByPeer);
}
