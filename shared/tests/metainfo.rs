//! `.torrent` files: those of other programs get their known hashes, ours are read back, hostile ones are refused.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use bytes::Bytes;
use proptest::prelude::*;
use shared::bencode::{Value, raw_entry};
use shared::limits::{MAX_FILES, MAX_METADATA_BYTES, MAX_NAME_BYTES, MAX_PATH_PARTS, MAX_TRACKERS};
use shared::metainfo::{AIMED_PIECES, Info, Layout, Metainfo, MetainfoError, choose_piece_length};

macro_rules! fixture {
    ($name:literal) => {
        Bytes::from_static(include_bytes!(concat!("fixtures/", $name, ".torrent")))
    };
}

#[test]
fn torrents_of_other_programs_get_their_known_hashes() {
    let known = [
        (fixture!("alice"), "722fe65b2aa26d14f35b4ad627d20236e481d924", "alice.txt", 163_783, 16_384, 10),
        (
            fixture!("bunny"),
            "af8f10f30bf9aefecf3686922bfa0d5bd290a395",
            "bbb_sunflower_1080p_30fps_stereo_abl.mp4",
            434_839_491,
            524_288,
            830,
        ),
        (fixture!("folder"), "b88da2caac6648e6c7d7687e3f89085f7e230e6b", "folder", 15, 16_384, 1),
        (
            fixture!("leaves"),
            "d2474e86c95b19b8bcfdb92bc12c9d44667cfa36",
            "Leaves of Grass by Walt Whitman.epub",
            362_017,
            16_384,
            23,
        ),
        (
            fixture!("leaves-metadata"),
            "d2474e86c95b19b8bcfdb92bc12c9d44667cfa36",
            "Leaves of Grass by Walt Whitman.epub",
            362_017,
            16_384,
            23,
        ),
        (
            fixture!("lots-of-numbers"),
            "114ead6243792ba56297edbb9a78dfba84d4fc00",
            "lots-of-numbers",
            12,
            16_384,
            1,
        ),
        (fixture!("numbers"), "89d97c2261a21b040cf11caa661a3ba7233bb7e6", "numbers", 6, 16_384, 1),
        (
            fixture!("sintel"),
            "c334138ef5bfc2d568ea7324e0e2a3a7ec229bdd",
            "Sintel.2010.4K.DMRip.x264.DD.DTS.SRT-MaLLIeHbKa.mkv",
            5_490_455_272,
            4_194_304,
            1_310,
        ),
    ];
    for (bytes, hash, name, total, piece_length, pieces) in known {
        let metainfo = Metainfo::from_bytes(&bytes).unwrap();
        let info = &metainfo.info;
        assert_eq!(info.info_hash().to_string(), hash);
        assert_eq!(info.name(), name);
        assert_eq!(info.geometry().total(), total);
        assert_eq!(info.geometry().piece_length(), piece_length);
        assert_eq!(info.geometry().piece_count(), pieces);
        assert_eq!(info.piece_hashes().len(), pieces as usize);
        let last = info.geometry().pieces().next_back().unwrap();
        assert_eq!(info.piece_hash(last)[..], info.piece_hashes()[last.as_usize()]);
        // Written and read again, it is the same torrent.
        let again = Metainfo::from_bytes(&metainfo.to_bytes().into()).unwrap();
        assert_eq!(again, metainfo);
    }
}

#[test]
fn what_other_programs_write_beside_the_info_is_read() {
    let bunny = Metainfo::from_bytes(&fixture!("bunny")).unwrap();
    assert!(bunny.info.is_private());
    assert_eq!(bunny.created_by.as_deref(), Some("uTorrent/3320"));
    assert_eq!(bunny.creation_date, Some(1_387_309_701));
    assert!(bunny.trackers().is_empty());
    let leaves = Metainfo::from_bytes(&fixture!("leaves-metadata")).unwrap();
    assert!(!leaves.info.is_private());
    assert!(leaves.announce_list.is_empty());
    assert_eq!(leaves.created_by, None);
}

#[test]
fn a_folder_of_another_program_keeps_its_paths_in_order() {
    let info = Metainfo::from_bytes(&fixture!("lots-of-numbers")).unwrap().info;
    assert!(info.is_folder());
    let files: Vec<_> =
        info.files().iter().map(|file| (file.display_path(), file.offset, file.length)).collect();
    let expected = [
        ("big numbers/10.txt", 0, 2),
        ("big numbers/11.txt", 2, 2),
        ("big numbers/12.txt", 4, 2),
        ("small numbers/1.txt", 6, 1),
        ("small numbers/2.txt", 7, 2),
        ("small numbers/3.txt", 9, 3),
    ];
    assert_eq!(files, expected.map(|(path, offset, length)| (path.to_owned(), offset, length)));
    // One file in a folder is a folder still.
    let folder = Metainfo::from_bytes(&fixture!("folder")).unwrap().info;
    assert!(folder.is_folder());
    assert_eq!(folder.files()[0].path, ["file.txt"]);
    assert!(!Metainfo::from_bytes(&fixture!("alice")).unwrap().info.is_folder());
}

#[test]
fn a_torrent_without_a_name_is_refused() {
    assert_eq!(Metainfo::from_bytes(&fixture!("corrupt")), Err(MetainfoError::Field("name")));
}

#[test]
fn the_info_of_another_program_can_be_made_here_byte_by_byte() {
    // Only those without keys of their own; the order of keys is given, so the bytes must be the same.
    for bytes in [fixture!("alice"), fixture!("numbers"), fixture!("lots-of-numbers")] {
        let theirs = Metainfo::from_bytes(&bytes).unwrap().info;
        let layout = if theirs.is_folder() {
            Layout::Folder(theirs.files().iter().map(|file| (file.path.clone(), file.length)).collect())
        } else {
            Layout::Single(theirs.geometry().total())
        };
        let piece_length = theirs.geometry().piece_length();
        let ours = Info::create(theirs.name(), &layout, piece_length, theirs.piece_hashes(), false).unwrap();
        assert_eq!(ours.raw(), theirs.raw());
        assert_eq!(ours, theirs);
    }
}

#[test]
fn golden_bytes_of_a_torrent_made_here() {
    let info = Info::create("nota.txt", &Layout::Single(5), 65_536, &[[b'h'; 20]], true).unwrap();
    let mut metainfo = Metainfo::new(info);
    metainfo.announce = Some("ws://localhost:8000/ws".into());
    metainfo.announce_list =
        vec![vec!["ws://localhost:8000/ws".into()], vec!["wss://b/".into(), "wss://c/".into()]];
    metainfo.comment = Some("olá".into());
    metainfo.created_by = Some("Enxame".into());
    metainfo.creation_date = Some(1_700_000_000);
    let expected = "d8:announce22:ws://localhost:8000/ws13:announce-list\
         ll22:ws://localhost:8000/wsel8:wss://b/8:wss://c/ee7:comment4:olá10:created by6:Enxame\
         13:creation datei1700000000e4:infod6:lengthi5e4:name8:nota.txt12:piece lengthi65536e\
         6:pieces20:hhhhhhhhhhhhhhhhhhhh7:privatei1eee";
    assert_eq!(String::from_utf8(metainfo.to_bytes()).unwrap(), expected);
    assert_eq!(Metainfo::from_bytes(&expected.into()).unwrap(), metainfo);
    assert_eq!(metainfo.trackers(), ["ws://localhost:8000/ws", "wss://b/", "wss://c/"]);
    // What parse-torrent 11 finds in these bytes.
    assert_eq!(metainfo.info.info_hash().to_string(), "25af99a3510aa575639d1e09bb60f0832f763102");
}

/// An info dictionary with these entries over usual ones: one piece, 10 bytes.
fn info_with(entries: &[(&str, Value<'_>)]) -> Result<Info, MetainfoError> {
    let mut usual = vec![
        ("length", Value::Int(10)),
        ("name", Value::from("n")),
        ("piece length", Value::Int(16_384)),
        ("pieces", Value::Bytes(&[7; 20])),
    ];
    usual.retain(|(key, _)| entries.iter().all(|(other, _)| other != key));
    usual.extend(entries.iter().cloned());
    Info::from_bytes(Value::dict(usual).encode().into())
}

fn file<'a>(length: i64, path: &[&'a str]) -> Value<'a> {
    Value::dict([
        ("length", Value::Int(length)),
        ("path", Value::List(path.iter().map(|part| Value::from(*part)).collect())),
    ])
}

fn info_with_files(files: Vec<Value<'_>>) -> Result<Info, MetainfoError> {
    info_with(&[("files", Value::List(files))])
}

#[test]
fn the_usual_info_is_accepted() {
    assert_eq!(info_with(&[]).unwrap().geometry().piece_count(), 1);
    assert!(info_with_files(vec![file(10, &["a"])]).is_ok());
}

#[test]
fn paths_that_could_leave_the_folder_are_refused() {
    let long = "x".repeat(MAX_NAME_BYTES + 1);
    let bad = ["", ".", "..", "/", "a/b", "/etc", "..\\a", "C:\\a", "a\0b", &long];
    for part in bad {
        for path in [vec![part], vec!["a", part], vec![part, "a"]] {
            assert!(
                matches!(info_with_files(vec![file(10, &path)]), Err(MetainfoError::UnsafeName(_))),
                "{path:?}"
            );
        }
        assert!(
            matches!(info_with(&[("name", Value::from(part))]), Err(MetainfoError::UnsafeName(_))),
            "{part:?}"
        );
        let with_files = [("name", Value::from(part)), ("files", Value::List(vec![file(10, &["a"])]))];
        assert!(matches!(info_with(&with_files), Err(MetainfoError::UnsafeName(_))), "{part:?}");
    }
}

#[test]
fn paths_without_parts_or_with_too_many_are_refused() {
    assert_eq!(info_with_files(vec![file(10, &[])]), Err(MetainfoError::Field("path")));
    assert!(info_with_files(vec![file(10, &["a"; MAX_PATH_PARTS])]).is_ok());
    assert!(info_with_files(vec![file(10, &["a"; MAX_PATH_PARTS + 1])]).is_err());
    let long = "x".repeat(MAX_NAME_BYTES);
    assert!(info_with_files(vec![file(10, &[long.as_str(); 7])]).is_err());
}

#[test]
fn a_path_may_have_names_in_any_script_and_with_leading_dots() {
    let path = ["…", "ação", "日本語", "🐝 enxame", ".hidden", "...", " "];
    let info = info_with_files(vec![file(10, &path)]).unwrap();
    assert_eq!(info.files()[0].path, path);
}

#[test]
fn two_files_of_one_place_are_refused() {
    let conflict = |paths: &[&[&str]]| {
        let files = paths.iter().map(|path| file(1, path)).collect();
        matches!(info_with_files(files), Err(MetainfoError::Conflict(_)))
    };
    assert!(conflict(&[&["a"], &["a"]]));
    assert!(conflict(&[&["a", "b"], &["c"], &["a", "b"]]));
    // A file where another has its folder, whichever comes first, and with others sorted in between.
    assert!(conflict(&[&["a"], &["a", "b"]]));
    assert!(conflict(&[&["a", "b", "c"], &["a-"], &["a"], &["a0"]]));
    assert!(!conflict(&[&["a", "b"], &["ab"], &["a", "c"], &["a b"]]));
}

#[test]
fn numbers_outside_their_range_are_refused() {
    for length in [-1, -i64::MAX] {
        assert_eq!(info_with(&[("length", Value::Int(length))]), Err(MetainfoError::Field("length")));
        assert_eq!(info_with_files(vec![file(length, &["a"])]), Err(MetainfoError::Field("length")));
    }
    for length in [0, -1, i64::MAX, 1 << 32, (1 << 26) + 1] {
        assert!(info_with(&[("piece length", Value::Int(length))]).is_err(), "{length}");
    }
    assert!(info_with(&[("length", Value::Int(i64::MAX))]).is_err());
    // Sums that would overflow.
    assert!(
        info_with_files(vec![file(i64::MAX, &["a"]), file(i64::MAX, &["b"]), file(i64::MAX, &["c"])])
            .is_err()
    );
    let overlong =
        b"d6:lengthi99999999999999999999e4:name1:n12:piece lengthi16384e6:pieces20:hhhhhhhhhhhhhhhhhhhhe";
    assert!(matches!(Info::from_bytes(Bytes::from_static(overlong)), Err(MetainfoError::Bencode(_))));
}

#[test]
fn piece_hashes_that_do_not_fit_the_files_are_refused() {
    for found in [0, 19, 21, 40] {
        let pieces = vec![7; found];
        let result = info_with(&[("pieces", Value::Bytes(&pieces))]);
        assert_eq!(result, Err(MetainfoError::Pieces { found, expected: 20 }));
    }
    let result = info_with(&[("length", Value::Int(16_385))]);
    assert_eq!(result, Err(MetainfoError::Pieces { found: 20, expected: 40 }));
}

#[test]
fn missing_fields_and_fields_of_the_wrong_kind_are_refused() {
    for key in ["length", "name", "piece length", "pieces", "files"] {
        for wrong in [Value::List(vec![]), Value::dict([]), Value::Bytes(b"x"), Value::Int(-1)] {
            if (key, &wrong) != ("name", &Value::Bytes(b"x")) {
                assert!(info_with(&[(key, wrong.clone())]).is_err(), "{key}: {wrong:?}");
            }
        }
    }
    for bytes in ["", "de", "le", "i1e", "4:info", "d4:infolee", "d4:infoi1ee", "d4:infodee", "d4:info2:dee"]
    {
        assert!(Metainfo::from_bytes(&bytes.into()).is_err(), "{bytes}");
        assert!(Info::from_bytes(bytes.into()).is_err(), "{bytes}");
    }
}

#[test]
fn no_files_and_too_many_are_refused() {
    assert_eq!(info_with_files(vec![]), Err(MetainfoError::NoFiles));
    let names: Vec<_> = (0..=MAX_FILES).map(|n| n.to_string()).collect();
    let files = names.iter().map(|name| file(0, &[name])).collect();
    assert_eq!(info_with_files(files), Err(MetainfoError::TooManyFiles(MAX_FILES + 1)));
    let huge = Bytes::from(vec![b'd'; MAX_METADATA_BYTES + 1]);
    assert_eq!(Info::from_bytes(huge), Err(MetainfoError::TooLong(MAX_METADATA_BYTES + 1)));
}

#[test]
fn the_most_files_are_accepted() {
    let names: Vec<_> = (0..MAX_FILES).map(|n| n.to_string()).collect();
    let files = names.iter().map(|name| file(0, &[name])).collect();
    let info = info_with(&[("files", Value::List(files)), ("pieces", Value::Bytes(b""))]).unwrap();
    assert_eq!(info.files().len(), MAX_FILES);
}

#[test]
fn an_empty_file_is_a_torrent_without_pieces() {
    let info = Info::create("vazio", &Layout::Single(0), 65_536, &[], false).unwrap();
    assert_eq!(info.geometry().piece_count(), 0);
    assert_eq!(info.files()[0].length, 0);
    let folder = Layout::Folder(vec![(vec!["a".into()], 0), (vec!["b".into()], 3), (vec!["c".into()], 0)]);
    let info = Info::create("pasta", &folder, 65_536, &[[1; 20]], false).unwrap();
    assert_eq!(info.files().iter().map(|file| file.offset).collect::<Vec<_>>(), [0, 0, 3]);
}

#[test]
fn names_that_are_not_utf8_are_read_as_far_as_they_can_be() {
    let info = info_with(&[("name", Value::Bytes(b"caf\xe9.txt"))]).unwrap();
    assert_eq!(info.name(), "caf\u{fffd}.txt");
    // The hash is over the bytes as they came.
    assert!(info.raw().windows(8).any(|bytes| bytes == b"caf\xe9.txt"));
    let better = [("name", Value::Bytes(b"caf\xe9.txt")), ("name.utf-8", Value::from("café.txt"))];
    assert_eq!(info_with(&better).unwrap().name(), "café.txt");
    let no_better = [("name", Value::Bytes(b"ok")), ("name.utf-8", Value::Bytes(b"\xff"))];
    assert_eq!(info_with(&no_better).unwrap().name(), "ok");
    let file = Value::dict([
        ("length", Value::Int(10)),
        ("path", Value::List(vec![Value::Bytes(b"\xe9")])),
        ("path.utf-8", Value::List(vec![Value::from("é")])),
    ]);
    assert_eq!(info_with_files(vec![file]).unwrap().files()[0].path, ["é"]);
    // An unsafe name is not made safe by being the UTF-8 one.
    assert!(info_with(&[("name.utf-8", Value::from(".."))]).is_err());
}

#[test]
fn padding_files_and_symbolic_links_take_part_in_the_layout_but_are_hidden() {
    let special = |attr: &'static str, length, path: &'static str| {
        let path = Value::List(vec![Value::from(".pad"), Value::from(path)]);
        Value::dict([("attr", Value::from(attr)), ("length", Value::Int(length)), ("path", path)])
    };
    let files = vec![
        file(3, &["a"]),
        special("p", 5, "5"),
        special("x", 1, "run"),
        special("p", 5, "5"), // every padding of one length has the same name
        special("l", 0, "link"),
        file(3, &["b"]),
    ];
    let info = info_with_files(files).unwrap();
    assert_eq!(
        info.files().iter().map(|file| file.hidden).collect::<Vec<_>>(),
        [false, true, false, true, true, false]
    );
    assert_eq!(info.files()[5].offset, 14);
    assert_eq!(info_with_files(vec![special("p", 10, "10")]), Err(MetainfoError::NoFiles));
}

#[test]
fn torrents_of_version_2_alone_are_refused_and_hybrid_ones_read_as_version_1() {
    let v2 = Value::dict([
        ("file tree", Value::dict([("a", Value::dict([("", Value::dict([("length", Value::Int(10))]))]))])),
        ("meta version", Value::Int(2)),
        ("name", Value::from("a")),
        ("piece length", Value::Int(16_384)),
    ]);
    assert_eq!(Info::from_bytes(v2.encode().into()), Err(MetainfoError::V2Only));
    let hybrid = [
        ("meta version", Value::Int(2)),
        ("file tree", Value::dict([("n", Value::dict([("", Value::dict([("length", Value::Int(10))]))]))])),
    ];
    assert_eq!(info_with(&hybrid).unwrap().geometry().total(), 10);
}

#[test]
fn the_hash_is_over_the_bytes_as_they_came_even_with_unsorted_keys() {
    let raw = "d4:name1:n6:lengthi10e6:pieces20:hhhhhhhhhhhhhhhhhhhh12:piece lengthi16384ee";
    let torrent = format!("d4:info{raw}8:announce9:ws://a/wse\n");
    let metainfo = Metainfo::from_bytes(&torrent.into()).unwrap();
    assert_eq!(metainfo.info.raw(), raw);
    assert_eq!(metainfo.announce.as_deref(), Some("ws://a/ws"));
    let sorted = Value::parse(raw.as_bytes()).unwrap().encode();
    assert_ne!(metainfo.info.info_hash(), Info::from_bytes(sorted.into()).unwrap().info_hash());
    assert_eq!(raw_entry(&metainfo.to_bytes(), "info"), Some(raw.as_bytes()));
}

#[test]
fn odd_trackers_are_skipped_and_their_number_is_bounded() {
    let info = info_with(&[]).unwrap();
    let torrent = |announce_list: Vec<Value<'_>>| {
        let entries = [
            ("announce", Value::Int(1)),
            ("announce-list", Value::List(announce_list)),
            ("comment", Value::List(vec![])),
            ("info", Value::parse(info.raw()).unwrap()),
        ];
        Metainfo::from_bytes(&Value::dict(entries).encode().into()).unwrap()
    };
    let long = "a".repeat(3_000);
    let metainfo = torrent(vec![
        Value::from("ws://a/"), // an address where a tier should be
        Value::List(vec![
            Value::Int(7),
            Value::from(""),
            Value::from("ws://b/"),
            Value::Bytes(b"ws://\xff/"),
        ]),
        Value::List(vec![Value::from(long.as_str()), Value::List(vec![])]),
        Value::Int(3),
        Value::List(vec![Value::from(" ws://a/ ")]),
    ]);
    assert_eq!(metainfo.announce, None);
    assert_eq!(metainfo.comment, None);
    assert_eq!(metainfo.announce_list, [["ws://a/"], ["ws://b/"], ["ws://a/"]]);
    assert_eq!(metainfo.trackers(), ["ws://a/", "ws://b/"]);
    let many = torrent(vec![Value::List(vec![Value::from("ws://a/"); 3]); MAX_TRACKERS]);
    assert_eq!(many.announce_list.iter().flatten().count(), MAX_TRACKERS);
}

#[test]
fn any_name_a_disk_has_can_be_shared() {
    let long = "ã".repeat(MAX_NAME_BYTES);
    for (given, made) in
        [("a/b\\c\0d", "a_b_c_d"), ("..", "_"), ("", "_"), (".", "_"), (&long, &long[..MAX_NAME_BYTES - 1])]
    {
        assert_eq!(Info::create(given, &Layout::Single(0), 65_536, &[], false).unwrap().name(), made);
        let layout = Layout::Folder(vec![(vec!["pasta".into(), given.into()], 0)]);
        let info = Info::create("n", &layout, 65_536, &[], false).unwrap();
        assert_eq!(info.files()[0].path, ["pasta", made]);
    }
}

#[test]
fn pieces_grow_with_the_torrent() {
    const KIB: u64 = 1024;
    const GIB: u64 = 1 << 30;
    assert_eq!(choose_piece_length(0), 64 * 1024);
    assert_eq!(choose_piece_length(64 * KIB * AIMED_PIECES), 64 * 1024);
    assert_eq!(choose_piece_length(64 * KIB * AIMED_PIECES + 1), 128 * 1024);
    assert_eq!(choose_piece_length(GIB), 1024 * 1024);
    assert_eq!(choose_piece_length(100 * GIB), 16 * 1024 * 1024);
    assert_eq!(choose_piece_length(u64::MAX), 16 * 1024 * 1024);
}

/// Names as people give them, and some that try to get out.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-c.]{1,3}", "\\PC{1,20}", Just("..".to_owned()), Just("a/b".to_owned())]
}

fn info() -> impl Strategy<Value = Info> {
    let folder = proptest::collection::vec((proptest::collection::vec(name(), 1..4), 0..100_000_u64), 1..6);
    let layout = prop_oneof![(0..1_000_000_u64).prop_map(Layout::Single), folder.prop_map(Layout::Folder)];
    (name(), layout, 14..18_u32, any::<bool>(), any::<u8>()).prop_filter_map(
        "conflict",
        |(name, layout, shift, private, fill)| {
            let total = match &layout {
                Layout::Single(length) => *length,
                Layout::Folder(files) => files.iter().map(|(_, length)| length).sum(),
            };
            let pieces = vec![[fill; 20]; total.div_ceil(1 << shift) as usize];
            match Info::create(&name, &layout, 1 << shift, &pieces, private) {
                Ok(info) => Some(info),
                Err(MetainfoError::Conflict(_)) => None,
                Err(error) => panic!("{error}"),
            }
        },
    )
}

/// Whoever holds one may save files by it.
fn assert_sound(info: &Info) {
    let mut offset = 0;
    for file in info.files() {
        assert_eq!(file.offset, offset);
        offset += file.length;
        assert!(!file.path.is_empty());
        for part in &file.path {
            assert!(!part.is_empty() && part != "." && part != ".." && !part.contains(['/', '\\', '\0']));
        }
    }
    assert_eq!(info.geometry().total(), offset);
    assert_eq!(info.piece_hashes().len(), info.geometry().piece_count() as usize);
}

proptest! {
    #[test]
    fn what_is_made_is_read_back(
        info in info(),
        announce: Option<u16>,
        tiers in proptest::collection::vec(proptest::collection::vec("wss?://[a-z]{1,9}/", 1..3), 0..3),
        comment: Option<String>,
        created_by: Option<String>,
        creation_date in proptest::option::of(-i64::MAX..=i64::MAX),
    ) {
        assert_sound(&info);
        prop_assert_eq!(&Info::from_bytes(info.raw().clone()).unwrap(), &info);
        let metainfo = Metainfo {
            announce: announce.map(|port| format!("ws://localhost:{port}/ws")),
            announce_list: tiers,
            comment,
            created_by,
            creation_date,
            info,
        };
        prop_assert_eq!(Metainfo::from_bytes(&metainfo.to_bytes().into()), Ok(metainfo));
    }

    #[test]
    fn perturbed_torrents_are_read_or_refused(
        info in info(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = Metainfo::new(info).to_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(metainfo) = Metainfo::from_bytes(&bytes.into()) {
            assert_sound(&metainfo.info);
            prop_assert_eq!(Metainfo::from_bytes(&metainfo.to_bytes().into()), Ok(metainfo));
        }
    }

    #[test]
    fn perturbed_torrents_of_other_programs_are_read_or_refused(at: prop::sample::Index, byte: u8) {
        for bytes in [fixture!("numbers"), fixture!("lots-of-numbers"), fixture!("leaves"), fixture!("corrupt")] {
            let mut bytes = bytes.to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(metainfo) = Metainfo::from_bytes(&bytes.into()) {
                assert_sound(&metainfo.info);
            }
        }
    }
}
