//! Magnet links, and what people paste.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use proptest::prelude::*;
use shared::InfoHash;
use shared::limits::{MAX_MAGNET_BYTES, MAX_NAME_BYTES, MAX_SELECT_RANGES, MAX_TRACKERS};
use shared::magnet::{Magnet, MagnetError, parse_pasted};

const HEX: &str = "d2474e86c95b19b8bcfdb92bc12c9d44667cfa36";
/// The same hash in base32 (RFC 4648).
const BASE32: &str = "2JDU5BWJLMM3RPH5XEV4CLE5IRTHZ6RW";

fn hash() -> InfoHash {
    HEX.parse().unwrap()
}

fn parse(text: &str) -> Result<Magnet, MagnetError> {
    text.parse()
}

#[test]
fn golden_text_of_a_magnet() {
    let magnet = Magnet {
        info_hash: hash(),
        display_name: Some("Folhas de relva & mais.epub".into()),
        exact_length: Some(362_017),
        trackers: vec!["wss://tracker.example/ws".into(), "ws://localhost:8000/ws?a=b".into()],
        select_only: vec![0..=0, 2..=2, 4..=6],
    };
    let text = "magnet:?xt=urn:btih:d2474e86c95b19b8bcfdb92bc12c9d44667cfa36\
        &dn=Folhas%20de%20relva%20%26%20mais.epub&xl=362017\
        &tr=wss%3A%2F%2Ftracker.example%2Fws&tr=ws%3A%2F%2Flocalhost%3A8000%2Fws%3Fa%3Db&so=0,2,4-6";
    assert_eq!(magnet.to_string(), text);
    assert_eq!(parse(text), Ok(magnet));
}

#[test]
fn a_magnet_of_another_program_is_read() {
    // As parse-torrent writes it for a fixture.
    let text = "magnet:?xt=urn:btih:d2474e86c95b19b8bcfdb92bc12c9d44667cfa36\
        &dn=Leaves+of+Grass+by+Walt+Whitman.epub&tr=udp%3A%2F%2Ftracker.example%3A80&x.pe=10.0.0.1:6881&ws=http://a/b";
    let magnet = parse(text).unwrap();
    assert_eq!(magnet.info_hash, hash());
    assert_eq!(magnet.display_name.as_deref(), Some("Leaves of Grass by Walt Whitman.epub"));
    assert_eq!(magnet.trackers, ["udp://tracker.example:80"]);
}

#[test]
fn hashes_are_read_in_hexadecimal_and_base32_of_either_case() {
    for text in [HEX, BASE32, &HEX.to_uppercase(), &BASE32.to_lowercase()] {
        for prefix in [
            "magnet:?xt=urn:btih:",
            "MAGNET:?XT=URN:BTIH:",
            "magnet:?xt.1=urn:btih:",
            "magnet:?xt=urn%3Abtih%3A",
        ] {
            assert_eq!(parse(&format!("{prefix}{text}")), Ok(Magnet::new(hash())), "{prefix}{text}");
        }
    }
}

#[test]
fn of_several_topics_the_first_hash_counts() {
    let v2 = format!("urn:btmh:1220{}", "ab".repeat(32));
    assert_eq!(parse(&format!("magnet:?xt={v2}&xt=urn:btih:{HEX}")), Ok(Magnet::new(hash())));
    assert_eq!(
        parse(&format!("magnet:?xt=urn:btih:{HEX}&xt=urn:btih:{}", "0".repeat(40))),
        Ok(Magnet::new(hash()))
    );
    assert_eq!(parse(&format!("magnet:?xt={v2}")), Err(MagnetError::V2Only));
}

#[test]
fn what_is_no_magnet_is_refused_with_its_reason() {
    assert_eq!(parse(""), Err(MagnetError::NotAMagnet));
    assert_eq!(parse("http://example/"), Err(MagnetError::NotAMagnet));
    assert_eq!(parse("magnét:?xt=urn:btih:"), Err(MagnetError::NotAMagnet));
    assert_eq!(parse("magnet:"), Err(MagnetError::NoHash));
    assert_eq!(parse("magnet:?dn=a"), Err(MagnetError::NoHash));
    assert_eq!(parse("magnet:?xt=urn:sha1:YNCKHTQCWBTRNJIV4WNAE52SJUQCZO5C"), Err(MagnetError::NoHash));
    assert_eq!(parse(&format!("magnet:?xt=urn:btih:{}", &HEX[1..])), Err(MagnetError::BadHash));
    assert_eq!(parse(&format!("magnet:?xt=urn:btih:{}", "z".repeat(40))), Err(MagnetError::BadHash));
    assert_eq!(parse(&format!("magnet:?xt=urn:btih:{}", "1".repeat(32))), Err(MagnetError::BadHash));
    let long = format!("magnet:?xt=urn:btih:{HEX}&dn={}", "a".repeat(MAX_MAGNET_BYTES));
    assert_eq!(parse(&long), Err(MagnetError::TooLong(long.len())));
    assert_eq!(parse_pasted(&long), Err(MagnetError::TooLong(long.len())));
}

#[test]
fn parameters_that_make_no_sense_are_ignored() {
    let base = format!("magnet:?xt=urn:btih:{HEX}");
    for junk in [
        "&xl=-1",
        "&xl=many",
        "&so=b",
        "&so=5-3",
        "&so=",
        "&tr=",
        "&dn=",
        "&",
        "&&=",
        "&=a",
        "&dn",
        "&so=99999999999",
    ] {
        assert_eq!(parse(&format!("{base}{junk}")), Ok(Magnet::new(hash())), "{junk}");
    }
}

#[test]
fn the_number_and_length_of_what_is_kept_is_bounded() {
    let trackers: String = (0..MAX_TRACKERS * 2).map(|n| format!("&tr=ws://{n}")).collect();
    let base = format!("magnet:?xt=urn:btih:{HEX}");
    assert_eq!(parse(&format!("{base}{trackers}")).unwrap().trackers.len(), MAX_TRACKERS);
    assert_eq!(parse(&format!("{base}&tr=ws://a&tr=ws://a")).unwrap().trackers, ["ws://a"]);
    assert!(parse(&format!("{base}&tr=ws://{}", "a".repeat(3_000))).unwrap().trackers.is_empty());
    let name = parse(&format!("{base}&dn={}", "é".repeat(2_000))).unwrap().display_name.unwrap();
    assert_eq!(name.len(), MAX_NAME_BYTES - 1);
    let ranges = vec!["1"; MAX_SELECT_RANGES * 2].join(",");
    assert_eq!(
        parse(&format!("{base}&so={ranges}&so={ranges}")).unwrap().select_only.len(),
        MAX_SELECT_RANGES
    );
}

#[test]
fn trackers_that_are_added_come_behind_the_others_and_each_once() {
    let trackers = |names: [&str; 3]| names.map(|name| format!("wss://{name}.example"));
    let mut magnet = Magnet::new(hash());
    magnet.add_trackers(trackers(["a", "b", "a"]));
    magnet.add_trackers(trackers(["c", "b", "d"]));
    assert_eq!(magnet.trackers, ["a", "b", "c", "d"].map(|name| format!("wss://{name}.example")));
    magnet.add_trackers((0..2 * MAX_TRACKERS).map(|n| format!("wss://{n}.example")));
    assert_eq!(magnet.trackers.len(), MAX_TRACKERS);
}

#[test]
fn selected_files_are_named_by_their_place() {
    let magnet = parse(&format!("magnet:?xt=urn:btih:{HEX}&so=0,2,4-6")).unwrap();
    let selected: Vec<u32> = (0..9).filter(|file| magnet.selects(*file)).collect();
    assert_eq!(selected, [0, 2, 4, 5, 6]);
    assert!(Magnet::new(hash()).selects(7));
}

#[test]
fn whatever_people_paste_is_understood() {
    let magnet = format!("magnet:?xt=urn:btih:{HEX}&dn=a%20b");
    let encoded = "magnet%3A%3Fxt%3Durn%3Abtih%3Ad2474e86c95b19b8bcfdb92bc12c9d44667cfa36%26dn%3Da%2520b";
    let plain = [
        HEX.to_owned(),
        format!("  {HEX}\r\n"),
        HEX.to_uppercase(),
        BASE32.to_owned(),
        format!("http://localhost:8000/#{HEX}"),
        format!("https://example.org/page?lang=en#{HEX}"),
        format!("https://example.org/#%20{HEX}"),
        format!("#{BASE32}"),
    ];
    for text in plain {
        assert_eq!(parse_pasted(&text), Ok(Magnet::new(hash())), "{text}");
    }
    let named = [
        magnet.clone(),
        format!("\t{magnet}\n"),
        format!("http://h/#{magnet}"),
        format!("http://h/#{encoded}"),
    ];
    for text in named {
        let magnet = parse_pasted(&text).unwrap();
        assert_eq!((magnet.info_hash, magnet.display_name.as_deref()), (hash(), Some("a b")), "{text}");
    }
}

#[test]
fn other_texts_are_refused() {
    for text in [
        "",
        " ",
        "olá",
        "http://localhost:8000/",
        "http://localhost:8000/#",
        "#",
        &HEX[1..],
        &"é".repeat(20),
        "##",
    ] {
        assert_eq!(parse_pasted(text), Err(MagnetError::NotAMagnet), "{text:?}");
    }
    assert_eq!(parse_pasted("http://h/#magnet:?xt=urn:btih:abc"), Err(MagnetError::BadHash));
}

fn magnet() -> impl Strategy<Value = Magnet> {
    (
        any::<[u8; 20]>(),
        proptest::option::of(
            any::<String>().prop_filter("empty", |name| !name.is_empty() && name.len() <= MAX_NAME_BYTES),
        ),
        any::<Option<u64>>(),
        proptest::collection::btree_set("wss?://\\PC{1,30}/[a-z+%&=#?]{0,9}x", 0..4),
        proptest::collection::vec((any::<u32>(), any::<u32>()).prop_map(|(a, b)| a.min(b)..=a.max(b)), 0..4),
    )
        .prop_map(|(hash, display_name, exact_length, trackers, select_only)| Magnet {
            info_hash: hash.into(),
            display_name,
            exact_length,
            trackers: trackers.into_iter().collect(),
            select_only,
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(magnet in magnet()) {
        prop_assert_eq!(parse(&magnet.to_string()), Ok(magnet.clone()));
        prop_assert_eq!(parse_pasted(&format!("https://example.org/#{magnet}")), Ok(magnet));
    }

    #[test]
    fn any_text_is_read_or_refused(text: String, tail in "(&?(xt|dn|tr|so|xl)=[%0-9a-fé,-]{0,9}){0,5}") {
        let _ = parse_pasted(&text);
        let _ = parse_pasted(&format!("magnet:?xt=urn:btih:{text}"));
        if let Ok(magnet) = parse(&format!("magnet:?xt=urn:btih:{HEX}{tail}")) {
            prop_assert_eq!(parse(&magnet.to_string()), Ok(magnet));
        }
    }
}
