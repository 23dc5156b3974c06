//! `.torrent` files, info dictionaries, bencode and magnet links from strangers: read or refused, and what was read is
//! sound and survives being written.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use shared::bencode::{Value, prefix_len, raw_entry};
use shared::magnet::{Magnet, parse_pasted};
use shared::metainfo::{Info, Metainfo};

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    bencode(data);
    if let Ok(metainfo) = Metainfo::from_bytes(&bytes) {
        sound(&metainfo.info);
        let written = Bytes::from(metainfo.to_bytes());
        assert_eq!(Metainfo::from_bytes(&written).as_ref(), Ok(&metainfo));
        assert_eq!(raw_entry(data, "info"), Some(&metainfo.info.raw()[..]));
    }
    if let Ok(info) = Info::from_bytes(bytes) {
        sound(&info);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(magnet) = text.parse::<Magnet>() {
            // Written, it can become longer than what is read: everything that is not plain takes three bytes.
            let written = magnet.to_string();
            if written.len() <= shared::limits::MAX_MAGNET_BYTES {
                assert_eq!(written.parse(), Ok(magnet));
            }
        }
        let _ = parse_pasted(text);
    }
});

fn bencode(data: &[u8]) {
    match Value::parse_prefix(data) {
        Ok((value, end)) => {
            assert_eq!(prefix_len(data), Ok(end));
            let written = value.encode();
            assert!(written.len() <= end);
            let again = Value::parse(&written).expect("what is written can be read");
            assert_eq!(again.encode(), written);
        }
        Err(error) => assert_eq!(prefix_len(data), Err(error)),
    }
}

/// Whoever holds it may cut pieces and save files by it.
fn sound(info: &Info) {
    let mut offset = 0;
    for file in info.files() {
        assert_eq!(file.offset, offset);
        offset += file.length;
        assert!(!file.path.is_empty());
        for part in &file.path {
            assert!(!matches!(part.as_str(), "" | "." | "..") && !part.contains(['/', '\\', '\0']));
        }
    }
    let geometry = info.geometry();
    assert_eq!(geometry.total(), offset);
    assert_eq!(info.piece_hashes().len(), geometry.piece_count() as usize);
    assert_eq!(geometry.pieces().map(|piece| u64::from(geometry.piece_len(piece))).sum::<u64>(), offset);
    if let Some(last) = geometry.pieces().next_back() {
        assert_eq!(Some(&info.piece_hash(last)), info.piece_hashes().last());
    }
}
