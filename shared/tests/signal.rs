//! Tracker messages: as other clients and trackers write them, round trips, and what strangers may try.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};
use shared::limits::{
    MAX_ICE_SECRET_BYTES, MAX_ICE_SERVERS, MAX_ICE_URL_BYTES, MAX_ICE_URLS, MAX_NUMWANT, MAX_OFFERS,
    MAX_REASON_BYTES, MAX_RELAY_URL_BYTES, MAX_SCRAPE_HASHES, MAX_SDP_BYTES, MAX_SIGNAL_BYTES,
};
use shared::relay::ChannelId;
use shared::signal::{
    Announce, Announced, Answer, EnxameHello, EnxameReply, Event, Failed, Forwarded, IceError, IceServer,
    NamedPeer, Offer, OfferRefused, RelayAt, RelayClose, RelayOpen, RelayOpened, RelayReason, RelayVisit,
    Scrape, Scraped, SessionDescription, SignalError, SwarmCounts, TargetedOffer, Ticket, ToPeer, ToTracker,
    parse_ice_servers,
};
use shared::{InfoHash, OfferId, PeerId};

const HASH: &str = "hhhhhhhhhhhhhhhhhhhh";
const PEER: &str = "-WW0300-pppppppppppp";

fn hash() -> InfoHash {
    InfoHash::from_byte_string(HASH).unwrap()
}

fn peer() -> PeerId {
    PeerId::from_byte_string(PEER).unwrap()
}

fn description(kind: &str, sdp: &str) -> SessionDescription {
    SessionDescription { kind: kind.into(), sdp: sdp.into() }
}

/// A leecher's announce as WebTorrent sends it, with these fields over its own.
fn announce_json(fields: Value) -> String {
    let mut message = json!({
        "action": "announce", "info_hash": HASH, "peer_id": PEER, "numwant": 5, "uploaded": 0, "downloaded": 0,
        "left": 7, "event": "started", "offers": [],
    });
    let Value::Object(fields) = fields else { panic!("fields are an object") };
    message.as_object_mut().unwrap().extend(fields);
    message.to_string()
}

fn without(field: &str) -> String {
    let mut message: Value = serde_json::from_str(&announce_json(json!({}))).unwrap();
    message.as_object_mut().unwrap().remove(field);
    message.to_string()
}

fn announce(text: &str) -> Announce {
    match ToTracker::from_json(text) {
        Ok(ToTracker::Announce(announce)) => announce,
        other => panic!("{text}: {other:?}"),
    }
}

// From a peer to the tracker.

#[test]
fn golden_text_of_a_webtorrent_announce() {
    let text = "{\"action\":\"announce\",\"info_hash\":\"\u{d2}GN\u{86}\u{c9}[\u{19}\u{b8}\u{bc}\u{fd}\u{b9}+\u{c1},\u{9d}Df|\u{fa}6\",\
        \"peer_id\":\"-WW0300-pppppppppppp\",\"numwant\":5,\"uploaded\":0,\"downloaded\":0,\"left\":362017,\"event\":\"started\",\
        \"offers\":[{\"offer\":{\"type\":\"offer\",\"sdp\":\"v=0\\r\\n\"},\"offer_id\":\"oooooooooooooooooooo\"}]}"
        .replace('\u{19}', "\\u0019");
    let announce = announce(&text);
    assert_eq!(announce.info_hash.to_string(), "d2474e86c95b19b8bcfdb92bc12c9d44667cfa36");
    assert_eq!(announce.peer_id, peer());
    assert_eq!(announce.event, Event::Started);
    assert_eq!(announce.left, Some(362_017));
    assert_eq!(announce.numwant, Some(5));
    let offer = Offer { offer: description("offer", "v=0\r\n"), offer_id: OfferId::new([b'o'; 20]) };
    assert_eq!(announce.offers, [offer]);
    assert_eq!(announce.enxame, None);
}

#[test]
fn golden_text_of_an_announce_of_ours() {
    let message = ToTracker::Announce(Announce {
        info_hash: hash(),
        peer_id: peer(),
        event: Event::Completed,
        left: Some(0),
        uploaded: 1,
        downloaded: 2,
        numwant: Some(5),
        offers: vec![],
        enxame: Some(EnxameHello { v: 1, relay: true, rtc: true, key: Some("k".into()), open: 7 }),
    });
    let text = "{\"action\":\"announce\",\"info_hash\":\"hhhhhhhhhhhhhhhhhhhh\",\"peer_id\":\"-WW0300-pppppppppppp\",\
        \"event\":\"completed\",\"left\":0,\"uploaded\":1,\"downloaded\":2,\"numwant\":5,\
        \"enxame\":{\"v\":1,\"relay\":true,\"rtc\":true,\"key\":\"k\",\"open\":7}}";
    assert_eq!(message.to_json(), text);
    assert_eq!(ToTracker::from_json(text), Ok(message));
}

#[test]
fn golden_text_of_an_offer_for_a_named_peer() {
    let message = ToTracker::Offer(TargetedOffer {
        info_hash: hash(),
        peer_id: peer(),
        to_peer_id: PeerId::new([b'q'; 20]),
        offer_id: OfferId::new([b'o'; 20]),
        offer: description("offer", "v=0"),
    });
    let text = "{\"action\":\"announce\",\"info_hash\":\"hhhhhhhhhhhhhhhhhhhh\",\"peer_id\":\"-WW0300-pppppppppppp\",\
        \"to_peer_id\":\"qqqqqqqqqqqqqqqqqqqq\",\"offer\":{\"type\":\"offer\",\"sdp\":\"v=0\"},\
        \"offer_id\":\"oooooooooooooooooooo\"}";
    assert_eq!(message.to_json(), text);
    assert_eq!(ToTracker::from_json(text), Ok(message));
}

#[test]
fn an_offer_for_a_named_peer_needs_its_id_and_without_a_receiver_it_is_an_announce() {
    let offer = json!({"type": "offer", "sdp": "v=0"});
    let fields = json!({"to_peer_id": PEER, "offer": offer});
    assert_eq!(
        ToTracker::from_json(&announce_json(fields)),
        Err(SignalError::Missing { action: "offer", field: "offer_id" })
    );
    let plain = announce_json(json!({"offer": offer, "offer_id": "o".repeat(20)}));
    assert_eq!(announce(&plain), announce(&announce_json(json!({}))));
}

#[test]
fn a_description_of_the_wrong_type_is_refused_in_either_direction() {
    let id = "o".repeat(20);
    for kind in ["", "pranswer", "rollback", "OFFER", &"offer".repeat(100_000)] {
        let description = json!({"type": kind, "sdp": "v=0"});
        for fields in [
            json!({"offers": [{"offer": description, "offer_id": id}]}),
            json!({"to_peer_id": PEER, "offer": description, "offer_id": id}),
            json!({"to_peer_id": PEER, "answer": description, "offer_id": id}),
        ] {
            let text = announce_json(fields);
            assert!(
                matches!(ToTracker::from_json(&text), Err(SignalError::Malformed(why)) if why.len() < 100),
                "{kind:.20}"
            );
        }
        for field in ["offer", "answer"] {
            let text = announce_json(json!({"offer_id": id, field: description}));
            assert!(matches!(ToPeer::from_json(&text), Err(SignalError::Malformed(_))), "{kind:.20}");
        }
    }
    let crossed = json!({"to_peer_id": PEER, "answer": {"type": "offer", "sdp": ""}, "offer_id": id});
    assert!(ToTracker::from_json(&announce_json(crossed)).is_err());
}

#[test]
fn an_answer_is_told_from_an_announce_by_its_answer() {
    let fields =
        json!({"to_peer_id": PEER, "offer_id": "o".repeat(20), "answer": {"type": "answer", "sdp": "v=0"}});
    let Ok(ToTracker::Answer(answer)) = ToTracker::from_json(&announce_json(fields)) else {
        panic!("an answer")
    };
    assert_eq!(answer.answer, description("answer", "v=0"));
    assert_eq!(answer.to_peer_id, peer());
    // A null answer is none.
    assert!(announce(&announce_json(json!({"answer": null}))).offers.is_empty());
}

#[test]
fn an_answer_without_a_receiver_or_an_offer_is_refused() {
    let fields = json!({"offer_id": "o".repeat(20), "answer": {"type": "answer", "sdp": ""}});
    let missing = |field| Err(SignalError::Missing { action: "answer", field });
    assert_eq!(ToTracker::from_json(&announce_json(fields)), missing("to_peer_id"));
    let fields = json!({"to_peer_id": PEER, "answer": {"type": "answer", "sdp": ""}});
    assert_eq!(ToTracker::from_json(&announce_json(fields)), missing("offer_id"));
}

#[test]
fn left_that_is_null_or_missing_is_unknown() {
    // Before there is metadata: JavaScript writes NaN as null.
    assert_eq!(announce(&announce_json(json!({"left": null}))).left, None);
    assert_eq!(announce(&without("left")).left, None);
    assert_eq!(announce(&announce_json(json!({"left": "NaN"}))).left, None);
    assert_eq!(announce(&announce_json(json!({"left": -1}))).left, None);
    assert_eq!(announce(&announce_json(json!({"left": 0}))).left, Some(0));
}

#[test]
fn a_bare_nan_is_not_json() {
    let text = announce_json(json!({})).replace("\"left\":7", "\"left\":NaN");
    assert!(matches!(ToTracker::from_json(&text), Err(SignalError::Malformed(_))));
}

#[test]
fn left_is_read_as_a_fraction_a_string_or_beyond_64_bits() {
    assert_eq!(announce(&announce_json(json!({"left": 12.9}))).left, Some(12));
    assert_eq!(announce(&announce_json(json!({"left": "12"}))).left, Some(12));
    assert_eq!(announce(&announce_json(json!({"left": 1e300}))).left, Some(u64::MAX));
    assert_eq!(announce(&announce_json(json!({"left": [1]}))).left, None);
}

#[test]
fn events_that_are_not_known_are_no_reason_to_refuse() {
    for event in ["update", "paused", "empty", "", "STARTED", "tomorrow"] {
        assert_eq!(announce(&announce_json(json!({"event": event}))).event, Event::Update, "{event}");
    }
    assert_eq!(announce(&announce_json(json!({"event": null}))).event, Event::Update);
    assert_eq!(announce(&without("event")).event, Event::Update);
    for (word, event) in
        [("started", Event::Started), ("stopped", Event::Stopped), ("completed", Event::Completed)]
    {
        assert_eq!(announce(&announce_json(json!({"event": word}))).event, event);
    }
}

#[test]
fn fields_that_are_not_known_are_ignored() {
    let fields = json!({"trackerid": "t", "corrupt": 0, "key": {"deep": [1, {"er": null}]}, "compact": 1});
    assert_eq!(announce(&announce_json(fields)), announce(&announce_json(json!({}))));
}

#[test]
fn ids_of_another_length_are_refused() {
    for field in ["info_hash", "peer_id"] {
        for id in [String::new(), "a".repeat(19), "a".repeat(21), "a".repeat(40)] {
            let text = announce_json(json!({field: id}));
            assert!(matches!(ToTracker::from_json(&text), Err(SignalError::Malformed(_))), "{field} {id}");
        }
        assert!(matches!(
            ToTracker::from_json(&without(field)),
            Err(SignalError::Missing { action: "announce", field: missing }) if missing == field
        ));
    }
    let offers = json!({"offers": [{"offer": {"type": "offer", "sdp": ""}, "offer_id": "short"}]});
    assert!(matches!(ToTracker::from_json(&announce_json(offers)), Err(SignalError::Malformed(_))));
}

#[test]
fn ids_with_a_character_above_255_are_refused() {
    for character in ["Ā", "€", "😀"] {
        let text = announce_json(json!({"peer_id": format!("{}{character}", "a".repeat(19))}));
        assert!(matches!(ToTracker::from_json(&text), Err(SignalError::Malformed(_))), "{character}");
    }
    let escaped = announce_json(json!({})).replace(PEER, &format!("{}\\ud83d", "a".repeat(19)));
    assert!(
        matches!(ToTracker::from_json(&escaped), Err(SignalError::Malformed(_))),
        "half a surrogate pair"
    );
    let highest = announce_json(json!({"peer_id": "ÿ".repeat(20)}));
    assert_eq!(announce(&highest).peer_id, PeerId::new([0xff; 20]));
}

#[test]
fn a_scrape_names_its_swarms_in_a_string_or_a_list_or_not_at_all() {
    let scrape = |text: &str| match ToTracker::from_json(text) {
        Ok(ToTracker::Scrape(scrape)) => scrape.info_hashes,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(scrape(&json!({"action": "scrape", "info_hash": HASH}).to_string()), [hash()]);
    let other = InfoHash::new([b'i'; 20]);
    let list = json!({"action": "scrape", "info_hash": [HASH, "i".repeat(20)]});
    assert_eq!(scrape(&list.to_string()), [hash(), other]);
    assert!(scrape(r#"{"action":"scrape"}"#).is_empty());
    assert!(scrape(r#"{"action":"scrape","info_hash":null}"#).is_empty());
    let many = json!({"action": "scrape", "info_hash": vec![HASH; MAX_SCRAPE_HASHES + 1]});
    assert_eq!(scrape(&many.to_string()).len(), MAX_SCRAPE_HASHES);
    assert!(ToTracker::from_json(r#"{"action":"scrape","info_hash":["short"]}"#).is_err());
}

#[test]
fn a_list_of_swarms_is_for_scrapes_alone() {
    let text = announce_json(json!({"info_hash": [HASH]}));
    assert_eq!(
        ToTracker::from_json(&text),
        Err(SignalError::Missing { action: "announce", field: "info_hash" })
    );
}

#[test]
fn numwant_is_read_in_every_form_that_clients_write() {
    for (written, read) in [
        (json!(0), Some(0)),
        (json!(5), Some(5)),
        (json!(5.0), Some(5)),
        (json!("5"), Some(5)),
        (json!(-1), None), // BEP 3 clients: as many as you like
        (json!(null), None),
        (json!(true), None),
        (json!(1e9), Some(1_000_000_000)),
    ] {
        assert_eq!(announce(&announce_json(json!({"numwant": written}))).numwant, read, "{written}");
    }
    assert_eq!(announce(&without("numwant")).numwant, None);
}

#[test]
fn offers_above_the_limit_are_dropped() {
    let offer = json!({"offer": {"type": "offer", "sdp": "v=0"}, "offer_id": "o".repeat(20)});
    let text = announce_json(json!({"offers": vec![offer; MAX_OFFERS + 5]}));
    assert_eq!(announce(&text).offers.len(), MAX_OFFERS);
    assert!(announce(&announce_json(json!({"offers": null}))).offers.is_empty());
    assert!(announce(&without("offers")).offers.is_empty());
}

#[test]
fn a_giant_session_description_is_refused() {
    let described = |kind: &str, len: usize| json!({"type": kind, "sdp": "a".repeat(len)});
    let sdp = |len| described("offer", len);
    let offers = |len| announce_json(json!({"offers": [{"offer": sdp(len), "offer_id": "o".repeat(20)}]}));
    assert_eq!(announce(&offers(MAX_SDP_BYTES)).offers.len(), 1);
    assert!(matches!(ToTracker::from_json(&offers(MAX_SDP_BYTES + 1)), Err(SignalError::Malformed(_))));
    let targeted =
        |len| announce_json(json!({"to_peer_id": PEER, "offer_id": "o".repeat(20), "offer": sdp(len)}));
    assert!(ToTracker::from_json(&targeted(MAX_SDP_BYTES)).is_ok());
    assert!(matches!(ToTracker::from_json(&targeted(MAX_SDP_BYTES + 1)), Err(SignalError::Malformed(_))));
    let answer = |len| {
        let answer = described("answer", len);
        announce_json(json!({"to_peer_id": PEER, "offer_id": "o".repeat(20), "answer": answer}))
    };
    assert!(ToTracker::from_json(&answer(MAX_SDP_BYTES)).is_ok());
    assert!(matches!(ToTracker::from_json(&answer(MAX_SDP_BYTES + 1)), Err(SignalError::Malformed(_))));
    let forwarded = |len| {
        json!({"action": "announce", "info_hash": HASH, "peer_id": PEER, "offer_id": "o".repeat(20), "offer": sdp(len)})
            .to_string()
    };
    assert!(ToPeer::from_json(&forwarded(MAX_SDP_BYTES)).is_ok());
    assert!(matches!(ToPeer::from_json(&forwarded(MAX_SDP_BYTES + 1)), Err(SignalError::Malformed(_))));
}

#[test]
fn messages_above_the_limit_are_refused_unread() {
    let text = announce_json(json!({"junk": "a".repeat(MAX_SIGNAL_BYTES)}));
    assert_eq!(ToTracker::from_json(&text), Err(SignalError::TooLong(text.len())));
    assert_eq!(ToPeer::from_json(&text), Err(SignalError::TooLong(text.len())));
}

#[test]
fn deeply_nested_json_is_refused_or_skipped_without_recursion() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for field in ["x", "left", "offers", "info_hash", "action", "enxame", "files"] {
            let depth = 50_000;
            let text = format!(r#"{{"{field}":{}1{}}}"#, open.repeat(depth), close.repeat(depth));
            assert!(ToTracker::from_json(&text).is_err(), "{field}");
            assert!(ToPeer::from_json(&text).is_err(), "{field}");
            // In a field that is known it is an error; others are skipped.
            let in_announce = text.replacen('{', &announce_json(json!({})).replace('}', ","), 1);
            assert_eq!(ToTracker::from_json(&in_announce).is_ok(), matches!(field, "x" | "files"), "{field}");
        }
    }
}

#[test]
fn what_is_no_message_is_refused_with_its_reason() {
    for text in ["", "null", "1", "[]", "{", "\"announce\"", "{\"action\":1}", "{\"action\":\"announce\"}}"] {
        assert!(ToTracker::from_json(text).is_err(), "{text}");
        assert!(ToPeer::from_json(text).is_err(), "{text}");
    }
    assert_eq!(
        ToTracker::from_json("{}"),
        Err(SignalError::Missing { action: "every message", field: "action" })
    );
    assert_eq!(
        ToTracker::from_json(r#"{"action":"dance"}"#),
        Err(SignalError::UnknownAction("dance".into()))
    );
    // What is sent back is short, whatever was sent.
    let long = json!({"action": "é".repeat(1_000)}).to_string();
    assert_eq!(ToTracker::from_json(&long), Err(SignalError::UnknownAction("é".repeat(32))));
}

// From the tracker to a peer.

#[test]
fn golden_text_of_an_announce_reply_has_whole_numbers() {
    let reply = ToPeer::Announced(Announced {
        info_hash: hash(),
        interval: 120,
        complete: 1,
        incomplete: 2,
        enxame: Some(EnxameReply {
            v: 1,
            window: 9,
            peers: vec![NamedPeer {
                peer_id: peer(),
                seeder: true,
                relay: true,
                rtc: false,
                channel: Some(ChannelId(4)),
            }],
            strangers: 3,
            ice: None,
        }),
    });
    let text = "{\"action\":\"announce\",\"info_hash\":\"hhhhhhhhhhhhhhhhhhhh\",\"interval\":120,\"complete\":1,\
        \"incomplete\":2,\"enxame\":{\"v\":1,\"window\":9,\
        \"peers\":[{\"peer_id\":\"-WW0300-pppppppppppp\",\"seeder\":true,\"relay\":true,\"rtc\":false,\"channel\":4}],\
        \"strangers\":3}}";
    assert_eq!(reply.to_json(), text);
    assert_eq!(ToPeer::from_json(text), Ok(reply));
}

#[test]
fn golden_text_of_a_reply_with_ice_servers() {
    let reply = ToPeer::Announced(Announced {
        info_hash: hash(),
        interval: 120,
        complete: 0,
        incomplete: 1,
        enxame: Some(EnxameReply {
            v: 1,
            window: 9,
            peers: vec![],
            strangers: 0,
            ice: Some(parse_ice_servers("stun:s.example:3478").unwrap()),
        }),
    });
    let text = "{\"action\":\"announce\",\"info_hash\":\"hhhhhhhhhhhhhhhhhhhh\",\"interval\":120,\"complete\":0,\
        \"incomplete\":1,\"enxame\":{\"v\":1,\"window\":9,\"peers\":[],\"strangers\":0,\
        \"ice\":[{\"urls\":[\"stun:s.example:3478\"]}]}}";
    assert_eq!(reply.to_json(), text);
    assert_eq!(ToPeer::from_json(text), Ok(reply));
}

fn enxame_reply(enxame: &Value) -> EnxameReply {
    let text =
        json!({"action": "announce", "info_hash": HASH, "interval": 120, "enxame": enxame}).to_string();
    match ToPeer::from_json(&text) {
        Ok(ToPeer::Announced(Announced { enxame: Some(reply), .. })) => reply,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_reply_from_before_webrtc_names_peers_that_relay() {
    let reply = enxame_reply(&json!({"v": 1, "window": 9, "peers": [{"peer_id": PEER, "seeder": true}]}));
    assert_eq!(
        reply.peers,
        [NamedPeer { peer_id: peer(), seeder: true, relay: true, rtc: false, channel: None }]
    );
    assert_eq!((reply.strangers, reply.ice), (0, None));
}

#[test]
fn a_reply_that_names_too_many_peers_is_cut_short() {
    let named = json!({"peer_id": PEER, "seeder": true});
    let reply = enxame_reply(&json!({"v": 1, "window": 9, "peers": vec![named; MAX_NUMWANT + 1]}));
    assert_eq!(reply.peers.len(), MAX_NUMWANT);
}

#[test]
fn ice_servers_that_a_browser_would_throw_at_are_left_out_of_a_reply() {
    let good = json!({"urls": "stun:s.example"});
    let servers = [
        good.clone(),
        json!({"urls": "http://s.example"}),
        json!({"urls": []}),
        json!({"urls": ["turn:t.example"]}),
        json!({"urls": "stun:s.example", "credential": 7}),
        json!("stun:s.example"),
        json!(null),
        good,
    ];
    let read = |ice: Value| enxame_reply(&json!({"v": 1, "window": 9, "peers": [], "ice": ice})).ice;
    let expected = IceServer { urls: vec!["stun:s.example".into()], username: None, credential: None };
    assert_eq!(read(json!(servers)), Some(vec![expected.clone(); 2]));
    assert_eq!(read(json!([])), Some(vec![]));
    assert_eq!(read(json!(null)), None);
    assert_eq!(
        read(json!(vec![json!({"urls": ["stun:s.example"]}); 1000])),
        Some(vec![expected; MAX_ICE_SERVERS])
    );
}

#[test]
fn golden_text_of_a_refused_offer() {
    let refused = ToPeer::OfferRefused(OfferRefused {
        info_hash: hash(),
        to_peer_id: peer(),
        offer_id: OfferId::new([b'o'; 20]),
    });
    let text = r#"{"action":"offer-refused","info_hash":"hhhhhhhhhhhhhhhhhhhh","to_peer_id":"-WW0300-pppppppppppp","offer_id":"oooooooooooooooooooo"}"#;
    assert_eq!(refused.to_json(), text);
    assert_eq!(ToPeer::from_json(text), Ok(refused));
    for field in ["info_hash", "to_peer_id", "offer_id"] {
        let mut message: Value = serde_json::from_str(text).unwrap();
        message.as_object_mut().unwrap().remove(field);
        assert_eq!(
            ToPeer::from_json(&message.to_string()),
            Err(SignalError::Missing { action: "offer-refused", field })
        );
    }
}

// Lists of ICE servers.

#[test]
fn golden_text_of_the_way_to_a_channel_at_another_node() {
    let ticket = Ticket::new([0xab; 16]);
    let open = |visit| {
        ToTracker::RelayOpen(RelayOpen {
            info_hash: hash(),
            peer_id: peer(),
            to_peer_id: PeerId::new([b'q'; 20]),
            visit,
        })
    };
    let text = r#"{"action":"relay-open","info_hash":"hhhhhhhhhhhhhhhhhhhh","peer_id":"-WW0300-pppppppppppp","to_peer_id":"qqqqqqqqqqqqqqqqqqqq""#;
    for (text, open) in
        [(format!("{text}}}"), open(false)), (format!(r#"{text},"visit":true}}"#), open(true))]
    {
        assert_eq!((open.to_json(), ToTracker::from_json(&text)), (text, Ok(open)));
    }
    let at = ToPeer::RelayAt(RelayAt {
        info_hash: hash(),
        to_peer_id: peer(),
        url: "wss://b.example/ws".into(),
        ticket,
    });
    let text = r#"{"action":"relay-at","info_hash":"hhhhhhhhhhhhhhhhhhhh","to_peer_id":"-WW0300-pppppppppppp","url":"wss://b.example/ws","ticket":"abababababababababababababababab"}"#;
    assert_eq!((at.to_json().as_str(), ToPeer::from_json(text)), (text, Ok(at)));
    let visit = ToTracker::RelayVisit(RelayVisit {
        info_hash: hash(),
        peer_id: peer(),
        to_peer_id: PeerId::new([b'q'; 20]),
        ticket,
    });
    let text = r#"{"action":"relay-visit","info_hash":"hhhhhhhhhhhhhhhhhhhh","peer_id":"-WW0300-pppppppppppp","to_peer_id":"qqqqqqqqqqqqqqqqqqqq","ticket":"abababababababababababababababab"}"#;
    assert_eq!((visit.to_json().as_str(), ToTracker::from_json(text)), (text, Ok(visit)));
}

#[test]
fn a_way_to_another_node_has_a_ticket_and_a_short_address() {
    let at = |url: &str, ticket: &str| {
        let text = json!({"action": "relay-at", "info_hash": HASH, "to_peer_id": PEER, "url": url, "ticket": ticket});
        ToPeer::from_json(&text.to_string())
    };
    let (longest, ticket) = ("w".repeat(MAX_RELAY_URL_BYTES), "ab".repeat(16));
    assert!(at(&longest, &ticket).is_ok());
    assert!(matches!(at(&format!("{longest}w"), &ticket), Err(SignalError::Malformed(_))));
    for wrong in ["", "ab", &"xy".repeat(16), &"ab".repeat(17)] {
        assert!(matches!(at("wss://b.example/", wrong), Err(SignalError::Malformed(_))), "{wrong:?}");
    }
    let visit = json!({"action": "relay-visit", "info_hash": HASH, "peer_id": PEER, "to_peer_id": PEER});
    let missing = ToTracker::from_json(&visit.to_string());
    assert_eq!(missing, Err(SignalError::Missing { action: "relay-visit", field: "ticket" }));
}

#[test]
fn ice_servers_are_read_as_addresses_or_as_json() {
    let server = |urls: &[&str]| IceServer {
        urls: urls.iter().map(|url| (*url).to_owned()).collect(),
        username: None,
        credential: None,
    };
    for none in ["", "  ", "none", "[]"] {
        assert_eq!(parse_ice_servers(none), Ok(vec![]), "{none:?}");
    }
    assert_eq!(
        parse_ice_servers(" stun:a.example:3478, stuns:[::1]:5349,STUN:127.0.0.1 "),
        Ok(vec![
            server(&["stun:a.example:3478"]),
            server(&["stuns:[::1]:5349"]),
            server(&["STUN:127.0.0.1"])
        ])
    );
    let json = r#"[{"urls": "stun:a.example"}, {"urls": ["stun:b.example", "stun:c.example:1"], "credentialType": "password"}]"#;
    assert_eq!(
        parse_ice_servers(json),
        Ok(vec![server(&["stun:a.example"]), server(&["stun:b.example", "stun:c.example:1"])])
    );
    let turn = r#"[{"urls": ["turn:t.example:3478?transport=udp", "turns:t.example?transport=tcp"], "username": "u", "credential": "c"}]"#;
    let servers = parse_ice_servers(turn).unwrap();
    assert_eq!((servers[0].username.as_deref(), servers[0].credential.as_deref()), (Some("u"), Some("c")));
    assert_eq!(serde_json::to_string(&servers).unwrap(), turn.replace(": ", ":").replace(", ", ","));
}

#[test]
fn what_is_no_ice_server_is_refused_with_a_reason() {
    let long = format!("stun:{}", "a".repeat(MAX_ICE_URL_BYTES));
    for (url, reason) in [
        ("stun.example.org", "no scheme"),
        ("http:stun.example.org", "begins neither"),
        ("stun://stun.example.org:3478", "no slashes"),
        ("stun:", "no host"),
        ("stun::3478", "no host"),
        ("stun:[]:3478", "no IPv6 address"),
        ("stun:[::1", "not closed"),
        ("stun:[::1]3478", "only a port"),
        ("stun:2001:db8::1:3478", "no number from 1"),
        ("stun:a.example:", "no number from 1"),
        ("stun:a.example:0", "no number from 1"),
        ("stun:a.example:+1", "no number from 1"),
        ("stun:a.example:65536", "no number from 1"),
        ("stun:a example", "a character"),
        ("stun:user@a.example", "a character"),
        ("stun:ä.example", "a character"),
        ("stun:a.example?transport=udp", "nothing can follow"),
        ("turn:a.example?transport=sctp", "only ?transport="),
        (&long, "too long"),
        ("stun:a.example,", "no scheme"),
    ] {
        let error = parse_ice_servers(url).unwrap_err();
        assert!(matches!(error, IceError::Url { .. }), "{url}: {error:?}");
        assert!(error.to_string().contains(reason), "{url}: {error}");
        assert!(error.to_string().len() < 300, "{error}");
    }
}

#[test]
fn turn_servers_need_an_account() {
    assert_eq!(parse_ice_servers("turn:t.example"), Err(IceError::NoCredential("turn:t.example".into())));
    for json in [
        r#"[{"urls": "turns:t.example", "username": "u"}]"#,
        r#"[{"urls": "turns:t.example", "credential": "c"}]"#,
        r#"[{"urls": "turns:t.example", "username": "u", "credential": ""}]"#,
    ] {
        assert_eq!(parse_ice_servers(json), Err(IceError::NoCredential("turns:t.example".into())), "{json}");
    }
}

#[test]
fn lists_of_ice_servers_are_bounded() {
    let list = |n: usize| vec!["stun:a.example"; n].join(",");
    assert_eq!(parse_ice_servers(&list(MAX_ICE_SERVERS)).unwrap().len(), MAX_ICE_SERVERS);
    assert_eq!(parse_ice_servers(&list(MAX_ICE_SERVERS + 1)), Err(IceError::TooMany(MAX_ICE_SERVERS + 1)));
    let urls = |n: usize| json!([{"urls": vec!["stun:a.example"; n]}]).to_string();
    assert!(parse_ice_servers(&urls(MAX_ICE_URLS)).is_ok());
    assert_eq!(parse_ice_servers(&urls(MAX_ICE_URLS + 1)), Err(IceError::Urls(MAX_ICE_URLS + 1)));
    assert_eq!(parse_ice_servers(&urls(0)), Err(IceError::Urls(0)));
    let secret = |n: usize| json!([{"urls": "turn:t.example", "username": "u".repeat(n), "credential": "c"}]);
    assert!(parse_ice_servers(&secret(MAX_ICE_SECRET_BYTES).to_string()).is_ok());
    assert_eq!(parse_ice_servers(&secret(MAX_ICE_SECRET_BYTES + 1).to_string()), Err(IceError::LongSecret));
    for json in ["[", "{}", "[1]", r#"{"urls": "stun:a.example"}"#, r#"[{"url": "stun:a.example"}]"#] {
        assert!(matches!(parse_ice_servers(json), Err(IceError::Json(_))), "{json}");
    }
}

#[test]
fn a_credential_is_not_in_the_log() {
    let json = r#"[{"urls": "turn:t.example", "username": "u", "credential": "hunter2"}]"#;
    let shown = format!("{:?}", parse_ice_servers(json).unwrap());
    assert!(shown.contains("turn:t.example") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn the_interval_is_found_under_each_name_that_trackers_use() {
    let reply = |name: &str, value: Value| {
        let text = json!({"action": "announce", "info_hash": HASH, name: value}).to_string();
        match ToPeer::from_json(&text) {
            Ok(ToPeer::Announced(reply)) => Some(reply.interval),
            _ => None,
        }
    };
    assert_eq!(reply("interval", json!(120)), Some(120));
    assert_eq!(reply("min interval", json!(30)), Some(30));
    assert_eq!(reply("min_interval", json!(30)), Some(30));
    assert_eq!(reply("interval", json!(119.9)), Some(119));
    assert_eq!(reply("interval", json!(-5)), Some(0));
    assert_eq!(reply("interval", json!(1e300)), Some(u32::MAX));
    assert_eq!(reply("interval", json!(null)), None);
    assert_eq!(reply("other", json!(120)), None);
    let both =
        json!({"action": "announce", "info_hash": HASH, "min interval": 30, "interval": 120}).to_string();
    assert!(matches!(ToPeer::from_json(&both), Ok(ToPeer::Announced(Announced { interval: 120, .. }))));
}

#[test]
fn replies_of_other_trackers_are_read_with_what_they_add() {
    let text = json!({
        "action": "announce", "info_hash": HASH, "interval": 120, "complete": null, "incomplete": 3,
        "warning message": "old", "tracker id": "t", "peers": [], "offers": 7,
    });
    let Ok(ToPeer::Announced(reply)) = ToPeer::from_json(&text.to_string()) else { panic!("a reply") };
    assert_eq!((reply.complete, reply.incomplete, reply.enxame), (0, 3, None));
}

#[test]
fn a_failure_needs_no_swarm() {
    let failed = |text: Value| match ToPeer::from_json(&text.to_string()) {
        Ok(ToPeer::Failed(failed)) => failed,
        other => panic!("{text}: {other:?}"),
    };
    let full = failed(json!({"action": "announce", "info_hash": HASH, "failure reason": "no"}));
    assert_eq!(full, Failed { action: "announce".into(), info_hash: Some(hash()), reason: "no".into() });
    let bare = failed(json!({"failure reason": "no"}));
    assert_eq!(bare, Failed { action: String::new(), info_hash: None, reason: "no".into() });
    assert_eq!(failed(json!({"failure reason": "é".repeat(1_000)})).reason.len(), MAX_REASON_BYTES);
}

#[test]
fn golden_text_of_a_failure() {
    let failed =
        ToPeer::Failed(Failed { action: "scrape".into(), info_hash: Some(hash()), reason: "no".into() });
    let text = r#"{"action":"scrape","info_hash":"hhhhhhhhhhhhhhhhhhhh","failure reason":"no"}"#;
    assert_eq!(failed.to_json(), text);
}

#[test]
fn golden_text_of_a_forwarded_offer_and_answer() {
    let forwarded = |kind| Forwarded {
        info_hash: hash(),
        peer_id: peer(),
        offer_id: OfferId::new([b'o'; 20]),
        description: description(kind, "v=0"),
    };
    for (message, kind) in
        [(ToPeer::Offer(forwarded("offer")), "offer"), (ToPeer::Answer(forwarded("answer")), "answer")]
    {
        let text = format!(
            "{{\"action\":\"announce\",\"info_hash\":\"{HASH}\",\"peer_id\":\"{PEER}\",\
             \"offer_id\":\"oooooooooooooooooooo\",\"{kind}\":{{\"type\":\"{kind}\",\"sdp\":\"v=0\"}}}}"
        );
        assert_eq!(message.to_json(), text);
        assert_eq!(ToPeer::from_json(&text), Ok(message));
    }
}

#[test]
fn a_scrape_reply_is_read_with_and_without_its_flags() {
    let files =
        json!({HASH: {"complete": 1, "incomplete": 2, "downloaded": 3, "name": "x"}, "i".repeat(20): {}});
    let counts = SwarmCounts { complete: 1, incomplete: 2, downloaded: 3 };
    let expected = BTreeMap::from([(hash(), counts), (InfoHash::new([b'i'; 20]), SwarmCounts::default())]);
    for (flags, wait) in [(json!({"min_request_interval": 600}), 600), (json!({}), 0), (json!(null), 0)] {
        let text = json!({"action": "scrape", "files": files, "flags": flags}).to_string();
        let scraped = Scraped { files: expected.clone(), min_request_interval: wait };
        assert_eq!(ToPeer::from_json(&text), Ok(ToPeer::Scraped(scraped)));
    }
    let text = json!({"action": "scrape", "files": {"short": {}}}).to_string();
    assert!(matches!(ToPeer::from_json(&text), Err(SignalError::Malformed(_))));
}

#[test]
fn reasons_of_the_future_are_read_as_other() {
    let text =
        json!({"action": "relay-closed", "info_hash": HASH, "channel": 3, "reason": "full-moon"}).to_string();
    let closed = ToPeer::RelayClosed { info_hash: hash(), channel: ChannelId(3), reason: RelayReason::Other };
    assert_eq!(ToPeer::from_json(&text), Ok(closed));
    let text = r#"{"action":"relay-close","channel":3}"#;
    let close = RelayClose { channel: ChannelId(3), reason: RelayReason::Done };
    assert_eq!(ToTracker::from_json(text), Ok(ToTracker::RelayClose(close)));
    assert!(ToTracker::from_json(r#"{"action":"relay-close","channel":-1}"#).is_err());
    assert!(ToTracker::from_json(r#"{"action":"relay-close","channel":4294967296}"#).is_err());
}

// Round trips.

fn info_hash() -> impl Strategy<Value = InfoHash> {
    any::<[u8; 20]>().prop_map(InfoHash::new)
}

fn peer_id() -> impl Strategy<Value = PeerId> {
    any::<[u8; 20]>().prop_map(PeerId::new)
}

fn offer_id() -> impl Strategy<Value = OfferId> {
    any::<[u8; 20]>().prop_map(OfferId::new)
}

fn ticket() -> impl Strategy<Value = Ticket> {
    any::<[u8; 16]>().prop_map(Ticket::new)
}

fn channel() -> impl Strategy<Value = ChannelId> {
    any::<u32>().prop_map(ChannelId)
}

fn session_description(kind: &'static str) -> impl Strategy<Value = SessionDescription> {
    any::<String>().prop_map(move |sdp| SessionDescription { kind: kind.into(), sdp })
}

fn ice_server() -> impl Strategy<Value = IceServer> {
    let url = prop::sample::select(vec![
        "stun:stun.example.org",
        "stuns:192.0.2.1:443",
        "turn:[2001:db8::1]:3478?transport=tcp",
        "TURNS:t_1-x.example",
    ]);
    (vec(url, 1..4), "\\PC{1,20}", "\\PC{1,20}").prop_map(|(urls, username, credential)| IceServer {
        urls: urls.into_iter().map(Into::into).collect(),
        username: Some(username),
        credential: Some(credential),
    })
}

fn reason() -> impl Strategy<Value = RelayReason> {
    prop::sample::select(vec![
        RelayReason::Done,
        RelayReason::PeerLeft,
        RelayReason::UnknownPeer,
        RelayReason::NotInSwarm,
        RelayReason::NotCapable,
        RelayReason::TooManyChannels,
        RelayReason::Quota,
        RelayReason::QueueFull,
        RelayReason::CreditExceeded,
        RelayReason::Protocol,
        RelayReason::Direct,
        RelayReason::Other,
    ])
}

fn to_tracker() -> impl Strategy<Value = ToTracker> {
    let event = prop::sample::select(vec![Event::Started, Event::Completed, Event::Stopped, Event::Update]);
    let offer =
        (session_description("offer"), offer_id()).prop_map(|(offer, offer_id)| Offer { offer, offer_id });
    let hello = (any::<[u32; 2]>(), any::<bool>(), any::<bool>(), proptest::option::of("\\PC{0,16}"))
        .prop_map(|([v, open], relay, rtc, key)| EnxameHello { v, relay, rtc, key, open });
    let counts = (any::<Option<u64>>(), any::<u64>(), any::<u64>(), proptest::option::of(0..1_000_usize));
    let announce = (info_hash(), peer_id(), event, counts, vec(offer, 0..4), proptest::option::of(hello))
        .prop_map(|(info_hash, peer_id, event, (left, uploaded, downloaded, numwant), offers, enxame)| {
            Announce { info_hash, peer_id, event, left, uploaded, downloaded, numwant, offers, enxame }
        });
    let answer = (info_hash(), peer_id(), peer_id(), offer_id(), session_description("answer")).prop_map(
        |(info_hash, peer_id, to_peer_id, offer_id, answer)| Answer {
            info_hash,
            peer_id,
            to_peer_id,
            offer_id,
            answer,
        },
    );
    let targeted = (info_hash(), peer_id(), peer_id(), offer_id(), session_description("offer")).prop_map(
        |(info_hash, peer_id, to_peer_id, offer_id, offer)| TargetedOffer {
            info_hash,
            peer_id,
            to_peer_id,
            offer_id,
            offer,
        },
    );
    prop_oneof![
        announce.prop_map(ToTracker::Announce),
        answer.prop_map(ToTracker::Answer),
        targeted.prop_map(ToTracker::Offer),
        vec(info_hash(), 0..5).prop_map(|info_hashes| ToTracker::Scrape(Scrape { info_hashes })),
        (info_hash(), peer_id(), peer_id(), any::<bool>()).prop_map(
            |(info_hash, peer_id, to_peer_id, visit)| {
                ToTracker::RelayOpen(RelayOpen { info_hash, peer_id, to_peer_id, visit })
            }
        ),
        (info_hash(), peer_id(), peer_id(), ticket()).prop_map(|(info_hash, peer_id, to_peer_id, ticket)| {
            ToTracker::RelayVisit(RelayVisit { info_hash, peer_id, to_peer_id, ticket })
        }),
        (channel(), reason())
            .prop_map(|(channel, reason)| ToTracker::RelayClose(RelayClose { channel, reason })),
    ]
}

fn to_peer() -> impl Strategy<Value = ToPeer> {
    let named = (peer_id(), any::<[bool; 3]>(), proptest::option::of(channel())).prop_map(
        |(peer_id, [seeder, relay, rtc], channel)| NamedPeer { peer_id, seeder, relay, rtc, channel },
    );
    let ice = proptest::option::of(vec(ice_server(), 0..4));
    let reply = (any::<[u32; 3]>(), vec(named, 0..4), ice)
        .prop_map(|([v, window, strangers], peers, ice)| EnxameReply { v, window, peers, strangers, ice });
    let announced = (info_hash(), any::<[u32; 3]>(), proptest::option::of(reply)).prop_map(
        |(info_hash, [interval, complete, incomplete], enxame)| Announced {
            info_hash,
            interval,
            complete,
            incomplete,
            enxame,
        },
    );
    let forwarded = |kind| {
        (info_hash(), peer_id(), offer_id(), session_description(kind)).prop_map(
            |(info_hash, peer_id, offer_id, description)| Forwarded {
                info_hash,
                peer_id,
                offer_id,
                description,
            },
        )
    };
    let counts = any::<[u32; 3]>().prop_map(|[complete, incomplete, downloaded]| SwarmCounts {
        complete,
        incomplete,
        downloaded,
    });
    let failed = ("[a-z-]{0,9}", proptest::option::of(info_hash()), "\\PC{0,60}")
        .prop_map(|(action, info_hash, reason)| Failed { action, info_hash, reason });
    prop_oneof![
        announced.prop_map(ToPeer::Announced),
        forwarded("offer").prop_map(ToPeer::Offer),
        forwarded("answer").prop_map(ToPeer::Answer),
        (info_hash(), peer_id(), offer_id()).prop_map(|(info_hash, to_peer_id, offer_id)| {
            ToPeer::OfferRefused(OfferRefused { info_hash, to_peer_id, offer_id })
        }),
        (btree_map(info_hash(), counts, 0..4), any::<u32>()).prop_map(|(files, min_request_interval)| {
            ToPeer::Scraped(Scraped { files, min_request_interval })
        }),
        failed.prop_map(ToPeer::Failed),
        (info_hash(), peer_id(), channel(), any::<u32>(), any::<bool>()).prop_map(
            |(info_hash, peer_id, channel, window, initiator)| {
                ToPeer::RelayOpened(RelayOpened { info_hash, peer_id, channel, window, initiator })
            }
        ),
        (info_hash(), peer_id(), "\\PC{0,99}", ticket()).prop_map(|(info_hash, to_peer_id, url, ticket)| {
            ToPeer::RelayAt(RelayAt { info_hash, to_peer_id, url, ticket })
        }),
        (info_hash(), peer_id(), reason()).prop_map(|(info_hash, to_peer_id, reason)| ToPeer::RelayRefused {
            info_hash,
            to_peer_id,
            reason
        }),
        (info_hash(), channel(), reason()).prop_map(|(info_hash, channel, reason)| ToPeer::RelayClosed {
            info_hash,
            channel,
            reason
        }),
        any::<u32>().prop_map(|within| ToPeer::Reconnect { within }),
    ]
}

/// The text with one byte changed, where that leaves it UTF-8.
fn perturb(text: String, at: prop::sample::Index, byte: u8) -> Option<String> {
    let mut bytes = text.into_bytes();
    let at = at.index(bytes.len());
    bytes[at] = byte;
    String::from_utf8(bytes).ok()
}

proptest! {
    #[test]
    fn what_a_peer_writes_the_tracker_reads(message in to_tracker()) {
        prop_assert_eq!(ToTracker::from_json(&message.to_json()), Ok(message));
    }

    #[test]
    fn what_the_tracker_writes_a_peer_reads(message in to_peer()) {
        prop_assert_eq!(ToPeer::from_json(&message.to_json()), Ok(message));
    }

    #[test]
    fn perturbed_messages_are_read_or_refused(
        from in to_tracker(),
        to in to_peer(),
        at: prop::sample::Index,
        byte in 0..128_u8,
    ) {
        if let Some(Ok(message)) = perturb(from.to_json(), at, byte).map(|text| ToTracker::from_json(&text)) {
            prop_assert_eq!(ToTracker::from_json(&message.to_json()), Ok(message));
        }
        if let Some(Ok(message)) = perturb(to.to_json(), at, byte).map(|text| ToPeer::from_json(&text)) {
            prop_assert_eq!(ToPeer::from_json(&message.to_json()), Ok(message));
        }
    }

    #[test]
    fn ice_servers_that_are_accepted_are_written_as_a_list_that_is_accepted(
        text in "(stuns?|turns?|STUN|x)?:?(/{0,2}[a-z0-9.:\\[\\]]{0,12}|[0-9]{1,3}\\.1:[0-9]{1,5})(\\?transport=(udp|tcp))?",
        servers in vec(ice_server(), 0..4),
    ) {
        prop_assert_eq!(parse_ice_servers(&serde_json::to_string(&servers).unwrap()), Ok(servers));
        if let Ok(servers) = parse_ice_servers(&text) {
            prop_assert!(servers.iter().all(|server| server.check().is_ok()));
            prop_assert_eq!(parse_ice_servers(&serde_json::to_string(&servers).unwrap()), Ok(servers));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text: String) {
        let _ = parse_ice_servers(&text);
        let _ = ToTracker::from_json(&text);
        let _ = ToPeer::from_json(&text);
    }
}
