//! The tracker's reading of signals against the plain one: the same messages are taken, the same refused, and what is passed on
//! says the same.

use proptest::prelude::*;
use shared::limits::{MAX_OFFERS, MAX_SDP_BYTES};
use shared::signal as plain;

use super::*;

const NAMES: &str = r#""info_hash":"hhhhhhhhhhhhhhhhhhhh","peer_id":"pppppppppppppppppppp""#;

/// An answer whose description has these characters as its SDP, written into JSON as they are.
fn answer(sdp: &str) -> String {
    format!(
        r#"{{"action":"announce",{NAMES},"to_peer_id":"tttttttttttttttttttt","offer_id":"oooooooooooooooooooo","answer":{{"type":"answer","sdp":{sdp}}}}}"#
    )
}

/// An announce with these, written into JSON as they are, as the SDP of its offers.
fn announce<'a>(sdps: impl IntoIterator<Item = &'a str>) -> String {
    let offer =
        |sdp| format!(r#"{{"offer":{{"type":"offer","sdp":{sdp}}},"offer_id":"oooooooooooooooooooo"}}"#);
    let offers: Vec<String> = sdps.into_iter().map(offer).collect();
    format!(r#"{{"action":"announce",{NAMES},"offers":[{}]}}"#, offers.join(","))
}

/// The text without escapes.
fn text(description: SessionDescription) -> plain::SessionDescription {
    plain::SessionDescription { kind: description.kind, sdp: description.sdp.to_text() }
}

fn unescaped(message: ToTracker) -> plain::ToTracker {
    match message {
        ToTracker::Announce(announce) => {
            let offers = announce.offers.into_iter();
            plain::ToTracker::Announce(plain::Announce {
                info_hash: announce.info_hash,
                peer_id: announce.peer_id,
                event: announce.event,
                left: announce.left,
                uploaded: announce.uploaded,
                downloaded: announce.downloaded,
                numwant: announce.numwant,
                offers: offers
                    .map(|Offer { offer, offer_id }| plain::Offer { offer: text(offer), offer_id })
                    .collect(),
                enxame: announce.enxame,
            })
        }
        ToTracker::Answer(Answer { info_hash, peer_id, to_peer_id, offer_id, answer }) => {
            let answer = text(answer);
            plain::ToTracker::Answer(plain::Answer { info_hash, peer_id, to_peer_id, offer_id, answer })
        }
        other => panic!("not made here: {other:?}"),
    }
}

/// Both ways of reading agree; gives the message, if it is one.
fn agree(json: &str) -> Option<ToTracker> {
    let (plain, mine) = (plain::ToTracker::from_json(json), ToTracker::read(json));
    match (plain, mine) {
        (Ok(plain), Ok(mine)) => {
            assert_eq!(unescaped(mine.clone()), plain, "{json}");
            Some(mine)
        }
        (Err(_), Err(_)) => None,
        (plain, mine) => panic!("{json}: {plain:?}, but {mine:?}"),
    }
}

/// What the receiver of this answer reads.
fn passed_on(answer: Answer) -> String {
    let Answer { info_hash, peer_id, offer_id, answer: description, .. } = answer;
    let mut json = Vec::new();
    ToPeer::Answer(Forwarded { info_hash, peer_id, offer_id, description }).write_json(&mut json);
    match plain::ToPeer::from_json(std::str::from_utf8(&json).unwrap()) {
        Ok(plain::ToPeer::Answer(answer)) => answer.description.sdp,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_stands_between_the_quotes_is_passed_on_as_it_came() {
    let sdp = r#""v=0\r\n\/ \u00e9 \ud83d\ude00 é\"\\""#;
    let Some(ToTracker::Answer(Answer { info_hash, peer_id, offer_id, answer, .. })) = agree(&answer(sdp))
    else {
        panic!("no answer");
    };
    let forwarded = Forwarded { info_hash, peer_id, offer_id, description: answer };
    let mut json = Vec::new();
    ToPeer::Answer(forwarded).write_json(&mut json);
    assert!(String::from_utf8(json).unwrap().contains(&format!(r#""sdp":{sdp}"#)));
}

#[test]
fn what_is_no_text_is_refused() {
    for sdp in [
        r#""\ud83d""#,
        r#""\ude00\ud83d""#,
        r#""\ud83d\n""#,
        r#""\u12g4""#,
        r#""\u123"#,
        r#""\x41""#,
        r#""\"#,
        r#""open"#,
        "\"a line\nbreak\"",
        "\"\0\"",
        "5",
        "null",
        "true",
        "{}",
        r#"["v=0"]"#,
        r#""v=0","sdp":"twice""#,
        "",
    ] {
        assert_eq!(agree(&answer(sdp)), None, "{sdp}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(agree(&answer(&deep)), None);
    assert_eq!(agree(&answer(&"[".repeat(100_000))), None);
}

#[test]
fn the_length_that_counts_is_that_of_the_text() {
    let (fits, too_long) = ("x".repeat(MAX_SDP_BYTES), "x".repeat(MAX_SDP_BYTES + 1));
    assert!(agree(&answer(&format!("\"{fits}\""))).is_some());
    assert_eq!(agree(&answer(&format!("\"{too_long}\""))), None);
    // Six bytes for one.
    let (fits, too_long) = ("\\u0041".repeat(MAX_SDP_BYTES), "\\u0041".repeat(MAX_SDP_BYTES + 1));
    assert!(agree(&answer(&format!("\"{fits}\""))).is_some());
    assert_eq!(agree(&answer(&format!("\"{too_long}\""))), None);
    // Offers that are not read are not measured.
    let (short, long) = ("\"v=0\"".to_owned(), format!("\"{}\"", "x".repeat(MAX_SDP_BYTES + 1)));
    let offers = |first: &str, last: &str| {
        let mut offers = vec![first.to_owned(); MAX_OFFERS];
        offers.push(last.to_owned());
        agree(&announce(offers.iter().map(String::as_str)))
    };
    assert!(offers(&short, &long).is_some());
    assert_eq!(agree(&announce([&short[..], &long])), None);
}

#[test]
fn no_text_is_shown() {
    let Some(ToTracker::Answer(answer)) = agree(&answer(r#""203.0.113.77""#)) else { panic!("no answer") };
    assert_eq!(format!("{:?}", answer.answer.sdp), "Escaped(14 bytes)");
    assert!(!format!("{answer:?}").contains("203"));
}

/// Pieces of JSON strings, whole and broken.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z=: ]{0,12}",
        3 => prop::sample::select(vec!["\\r\\n", "\\\"", "\\\\", "\\/", "\\b", "\\f", "\\t"]).prop_map(str::to_owned),
        3 => any::<u16>().prop_map(|unit| format!("\\u{unit:04x}")),
        1 => any::<char>().prop_map(|c| serde_json::to_string(&c.to_string()).unwrap().trim_matches('"').to_owned()),
        1 => any::<char>().prop_map(|c| {
            c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04X}")).collect()
        }),
        1 => prop::sample::select(vec!["\"", "\\", "\\u", "\\u12", "\\x", "\n", "\u{7f}", "}", "{"]).prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn both_ways_of_reading_agree(sdps in prop::collection::vec(pieces(), 0..3)) {
        let quoted: Vec<String> = sdps.iter().map(|sdp| format!("\"{sdp}\"")).collect();
        agree(&announce(quoted.iter().map(String::as_str)));
        for sdp in &quoted {
            if let Some(ToTracker::Answer(message)) = agree(&answer(sdp)) {
                let text = message.answer.sdp.to_text();
                prop_assert_eq!(passed_on(message), text);
            }
        }
    }

    #[test]
    fn any_text_can_be_passed_on(text in any::<String>()) {
        let json = serde_json::to_string(&text).unwrap();
        let Some(ToTracker::Answer(message)) = agree(&answer(&json)) else { panic!("refused") };
        prop_assert_eq!(&message.answer.sdp, &Escaped::from(text.as_str()));
        prop_assert_eq!(passed_on(message), text);
    }
}
