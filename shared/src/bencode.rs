//! Bencode (BEP 3): integers, byte strings, lists and dictionaries.
//!
//! The `bt_bencode` crate makes the values and writes them. It has no bound on nesting and takes a string's length at
//! its word, so [`prefix_len`] walks over the bytes first, without recursion or allocation by the sender's numbers: what
//! passes it is well-formed, no deeper than [`MAX_BENCODE_DEPTH`] and no more than [`MAX_BENCODE_ITEMS`] values.
//!
//! Numbers must be written as BEP 3 says (no leading zeros, no `-0`) and fit in 64 bits. The order of a dictionary's
//! keys is not checked, since real clients and files get it wrong; of keys that are there twice the first counts, as
//! in libtorrent. What is written is always sorted.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::limits::{MAX_BENCODE_DEPTH, MAX_BENCODE_ITEMS};
use crate::order::sorted;

/// Why bytes are not bencode, or too much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BencodeError {
    /// The bytes end in the middle of a value.
    #[error("the bencoded data ends too early")]
    Truncated,
    /// Something that BEP 3 does not allow, at this offset in bytes.
    #[error("malformed bencode at byte {0}")]
    Malformed(usize),
    /// Nested deeper than [`MAX_BENCODE_DEPTH`].
    #[error("bencode nested deeper than {MAX_BENCODE_DEPTH}")]
    TooDeep,
    /// More values than [`MAX_BENCODE_ITEMS`].
    #[error("more than {MAX_BENCODE_ITEMS} bencoded values")]
    TooMany,
    /// Bytes behind the value, which ends at this offset.
    #[error("bytes follow the bencoded value, which ends at byte {0}")]
    Trailing(usize),
}

/// One bencoded value; byte strings borrow from the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// `i…e`. Never `i64::MIN`, which is not read.
    Int(i64),
    /// `n:…`
    Bytes(&'a [u8]),
    /// `l…e`
    List(Vec<Value<'a>>),
    /// `d…e`
    Dict(Dict<'a>),
}

impl<'a> Value<'a> {
    /// Reads a value that is all there is.
    ///
    /// # Errors
    /// [`BencodeError`]; [`BencodeError::Trailing`] when something follows the value.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BencodeError> {
        match Self::parse_prefix(bytes)? {
            (value, end) if end == bytes.len() => Ok(value),
            (_, end) => Err(BencodeError::Trailing(end)),
        }
    }

    /// Reads the value at the start of `bytes`, and says how many bytes it took; anything may follow it.
    ///
    /// # Errors
    /// [`BencodeError`]; [`BencodeError::Truncated`] when more bytes could complete it.
    pub fn parse_prefix(bytes: &'a [u8]) -> Result<(Self, usize), BencodeError> {
        let end = prefix_len(bytes)?;
        let value = bt_bencode::from_slice(&bytes[..end])
            .map_err(|error: bt_bencode::Error| BencodeError::Malformed(error.byte_offset()))?;
        Ok((value, end))
    }

    /// Writes the value, dictionaries sorted by key.
    pub fn encode(&self) -> Vec<u8> {
        bt_bencode::to_vec(self).expect("integers, bytes, lists and maps with byte keys are always bencode")
    }

    /// A dictionary of these entries.
    pub fn dict(entries: impl IntoIterator<Item = (&'a str, Value<'a>)>) -> Self {
        Self::Dict(entries.into_iter().collect())
    }

    /// The number, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        if let Self::Int(number) = self { Some(*number) } else { None }
    }

    /// The byte string, if it is one.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// The list's values, if it is one.
    pub fn as_list(&self) -> Option<&[Value<'a>]> {
        if let Self::List(list) = self { Some(list) } else { None }
    }

    /// The dictionary, if it is one.
    pub fn as_dict(&self) -> Option<&Dict<'a>> {
        if let Self::Dict(dict) = self { Some(dict) } else { None }
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Bytes(text.as_bytes())
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

/// A dictionary, its entries in the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dict<'a>(Vec<(&'a [u8], Value<'a>)>);

impl<'a> Dict<'a> {
    /// The value of this key; the first, should it be there twice.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.0.iter().find_map(|(name, value)| (*name == key.as_bytes()).then_some(value))
    }

    /// The number of this key; `None` when it is not there or no number.
    pub fn int(&self, key: &str) -> Option<i64> {
        self.get(key)?.as_int()
    }

    /// The byte string of this key; `None` when it is not there or no byte string.
    pub fn bytes(&self, key: &str) -> Option<&'a [u8]> {
        self.get(key)?.as_bytes()
    }

    /// The list of this key; `None` when it is not there or no list.
    pub fn list(&self, key: &str) -> Option<&[Value<'a>]> {
        self.get(key)?.as_list()
    }

    /// The dictionary of this key; `None` when it is not there or no dictionary.
    pub fn dict(&self, key: &str) -> Option<&Dict<'a>> {
        self.get(key)?.as_dict()
    }

    /// All entries.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'a [u8], &Value<'a>)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }
}

impl<'a> FromIterator<(&'a str, Value<'a>)> for Dict<'a> {
    fn from_iter<I: IntoIterator<Item = (&'a str, Value<'a>)>>(entries: I) -> Self {
        Self(entries.into_iter().map(|(key, value)| (key.as_bytes(), value)).collect())
    }
}

/// The bytes, exactly as they came, of the value that stands in a dictionary under this key (the first, should it be
/// there twice): what a hash is taken over. `None` when `bytes` is no dictionary or has no such key.
pub fn raw_entry<'a>(bytes: &'a [u8], key: &str) -> Option<&'a [u8]> {
    prefix_len(bytes).ok()?;
    let mut rest = bytes.strip_prefix(b"d")?;
    while rest.first() != Some(&b'e') {
        let (name, value) = rest.split_at(prefix_len(rest).ok()?);
        let (raw, behind) = value.split_at(prefix_len(value).ok()?);
        if Value::parse(name).ok()?.as_bytes()? == key.as_bytes() {
            return Some(raw);
        }
        rest = behind;
    }
    None
}

/// How many bytes the value at the start of `bytes` takes.
///
/// # Errors
/// [`BencodeError`], but never [`BencodeError::Trailing`].
pub fn prefix_len(bytes: &[u8]) -> Result<usize, BencodeError> {
    /// A list or dictionary whose end has not come.
    enum Open {
        List,
        DictBeforeKey,
        DictBeforeValue,
    }
    let mut open = Vec::new();
    let mut items = 0;
    let mut at = 0;
    loop {
        let kind = *bytes.get(at).ok_or(BencodeError::Truncated)?;
        if kind == b'e' {
            let (Some(Open::List) | Some(Open::DictBeforeKey)) = open.pop() else {
                return Err(BencodeError::Malformed(at));
            };
            at += 1;
        } else {
            items += 1;
            if items > MAX_BENCODE_ITEMS {
                return Err(BencodeError::TooMany);
            }
            match open.last_mut() {
                Some(dict @ Open::DictBeforeKey) if kind.is_ascii_digit() => *dict = Open::DictBeforeValue,
                Some(Open::DictBeforeKey) => return Err(BencodeError::Malformed(at)),
                Some(dict @ Open::DictBeforeValue) => *dict = Open::DictBeforeKey,
                Some(Open::List) | None => {}
            }
            match kind {
                b'0'..=b'9' => at = string_end(bytes, at)?,
                b'i' => at = integer_end(bytes, at)?,
                b'l' | b'd' if open.len() == MAX_BENCODE_DEPTH => return Err(BencodeError::TooDeep),
                b'l' => {
                    open.push(Open::List);
                    at += 1;
                }
                b'd' => {
                    open.push(Open::DictBeforeKey);
                    at += 1;
                }
                _ => return Err(BencodeError::Malformed(at)),
            }
        }
        if open.is_empty() {
            return Ok(at);
        }
    }
}

/// Where the string ends whose length begins at `start`.
fn string_end(bytes: &[u8], start: usize) -> Result<usize, BencodeError> {
    let (length, at) = number(bytes, start, b':')?;
    let length = usize::try_from(length).map_err(|_| BencodeError::Malformed(start))?;
    let end = at.checked_add(length).ok_or(BencodeError::Malformed(start))?;
    if end > bytes.len() { Err(BencodeError::Truncated) } else { Ok(end) }
}

/// Where the integer ends whose `i` is at `start`.
fn integer_end(bytes: &[u8], start: usize) -> Result<usize, BencodeError> {
    let (_, at) = number(bytes, start + 1, b'e')?;
    Ok(at)
}

/// The number at `start`, written as BEP 3 says, and the offset behind its `terminator`.
fn number(bytes: &[u8], start: usize, terminator: u8) -> Result<(i64, usize), BencodeError> {
    /// Digits and sign of the longest 64-bit number, and the terminator.
    const LONGEST: usize = 21;
    let rest = &bytes[start..];
    let window = &rest[..rest.len().min(LONGEST)];
    let malformed = BencodeError::Malformed(start);
    let Some(len) = window.iter().position(|byte| *byte == terminator) else {
        let digits = window.strip_prefix(b"-").unwrap_or(window);
        let could_go_on = window.len() < LONGEST && digits.iter().all(u8::is_ascii_digit);
        return Err(if could_go_on { BencodeError::Truncated } else { malformed });
    };
    let digits = match &window[..len] {
        [b'-', b'0', ..] | [b'0', _, ..] | [] => return Err(malformed),
        [b'-', digits @ ..] => digits,
        digits => digits,
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(malformed);
    }
    let text = std::str::from_utf8(&window[..len]).map_err(|_| malformed)?;
    let number = text.parse::<i64>().ok().filter(|number| *number != i64::MIN).ok_or(malformed)?;
    Ok((number, start + len + 1))
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;
        impl<'de> Visitor<'de> for AnyValue {
            type Value = Value<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a bencoded value")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Value::Int(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                i64::try_from(number).map(Value::Int).map_err(E::custom)
            }

            fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Value::Bytes(bytes))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Value::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut dict = Vec::new();
                while let Some(entry) = entries.next_entry::<&'de [u8], Value<'de>>()? {
                    dict.push(entry);
                }
                Ok(Value::Dict(Dict(dict)))
            }
        }
        deserializer.deserialize_any(AnyValue)
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::List(list) => {
                let mut items = serializer.serialize_seq(Some(list.len()))?;
                list.iter().try_for_each(|item| items.serialize_element(item))?;
                items.end()
            }
            Self::Dict(dict) => dict.serialize(serializer),
        }
    }
}

impl Serialize for Dict<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // By key, then by place: of two equal keys it is the first that stays, as in `get`.
        let mut keys = sorted(self.0.iter().enumerate().map(|(place, (key, _))| (*key, place)).collect());
        keys.dedup_by_key(|(key, _)| *key);
        let mut entries = serializer.serialize_map(Some(keys.len()))?;
        keys.into_iter()
            .try_for_each(|(key, place)| entries.serialize_entry(&Value::Bytes(key), &self.0[place].1))?;
        entries.end()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_bytes_of_each_kind() {
        let bytes = b"d1:ai-7e1:bl0:i0ee1:cd1:x2:\xff\x00ee";
        let value = Value::dict([
            ("a", Value::Int(-7)),
            ("b", Value::List(vec![Value::Bytes(b""), Value::Int(0)])),
            ("c", Value::dict([("x", Value::Bytes(b"\xff\x00"))])),
        ]);
        assert_eq!(Value::parse(bytes), Ok(value.clone()));
        assert_eq!(value.encode(), bytes);
        let dict = value.as_dict().unwrap();
        assert_eq!(dict.int("a"), Some(-7));
        assert_eq!(dict.list("b").map(<[_]>::len), Some(2));
        assert_eq!(dict.dict("c").and_then(|c| c.bytes("x")), Some(&b"\xff\x00"[..]));
        assert_eq!(dict.int("missing"), None);
    }

    #[test]
    fn a_dictionary_in_front_of_a_payload_says_how_long_it_is() {
        let message = b"d8:msg_typei1e5:piecei0e10:total_sizei3eeabc";
        let (value, end) = Value::parse_prefix(message).unwrap();
        assert_eq!(value.as_dict().unwrap().int("total_size"), Some(3));
        assert_eq!(&message[end..], b"abc");
        assert_eq!(Value::parse(message), Err(BencodeError::Trailing(end)));
    }

    #[test]
    fn keys_are_read_in_any_order_and_written_sorted() {
        let value = Value::parse(b"d1:bi2e1:ai1ee").unwrap();
        assert_eq!(value.as_dict().unwrap().int("a"), Some(1));
        assert_eq!(value.encode(), b"d1:ai1e1:bi2ee");
    }

    #[test]
    fn the_first_of_two_equal_keys_counts() {
        let value = Value::parse(b"d1:ai1e1:ai2ee").unwrap();
        assert_eq!(value.as_dict().unwrap().int("a"), Some(1));
        assert_eq!(value.encode(), b"d1:ai1ee");
    }

    #[test]
    fn every_cut_of_a_value_is_truncated_not_malformed() {
        let bytes = b"d1:ai-12e1:bl3:abci9223372036854775807eee";
        for end in 0..bytes.len() {
            assert_eq!(Value::parse(&bytes[..end]), Err(BencodeError::Truncated), "cut at {end}");
        }
    }

    #[test]
    fn what_bep_3_does_not_allow_is_refused() {
        let cases: [&[u8]; 24] = [
            b"e",
            b"x",
            b"-1:a",
            b"i e",
            b"ie",
            b"i-e",
            b"i-0e",
            b"i00e",
            b"i01e",
            b"i-01e",
            b"i+1e",
            b"i1.5e",
            b"i1",
            b"i--1e",
            b"00:",
            b"01:a",
            b"1a:",
            b"li1e",
            b"di1ei2ee",
            b"d1:ae",
            b"dlei1ee",
            b"i9223372036854775808e",
            b"i-9223372036854775808e",
            b"i99999999999999999999999999999999999e",
        ];
        for bytes in cases {
            assert!(Value::parse(bytes).is_err(), "{:?}", bytes.escape_ascii().to_string());
        }
    }

    #[test]
    fn a_length_that_would_overflow_is_refused() {
        for bytes in
            [&b"18446744073709551615:a"[..], b"9223372036854775807:a", b"4294967295:a", b"4294967290:a"]
        {
            assert!(Value::parse(bytes).is_err());
            let mut inside = b"d1:a".to_vec();
            inside.extend_from_slice(bytes);
            assert!(Value::parse(&inside).is_err());
            assert_eq!(raw_entry(&inside, "a"), None);
        }
    }

    #[test]
    fn nesting_is_bounded_before_anything_recurses() {
        let nested = |depth: usize| [vec![b'l'; depth], vec![b'e'; depth]].concat();
        assert!(Value::parse(&nested(MAX_BENCODE_DEPTH)).is_ok());
        assert_eq!(Value::parse(&nested(MAX_BENCODE_DEPTH + 1)), Err(BencodeError::TooDeep));
        assert_eq!(Value::parse(&nested(1_000_000)), Err(BencodeError::TooDeep));
        assert_eq!(Value::parse(&b"d1:a".repeat(1_000_000)), Err(BencodeError::TooDeep));
        assert_eq!(raw_entry(&b"d1:a".repeat(1_000_000), "a"), None);
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        let mut bytes = vec![b'l'];
        bytes.extend(b"le".repeat(MAX_BENCODE_ITEMS));
        bytes.push(b'e');
        assert_eq!(Value::parse(&bytes), Err(BencodeError::TooMany));
    }

    #[test]
    fn the_raw_bytes_of_an_entry_are_kept_as_they_came() {
        let bytes = b"d1:ad1:zi1ee1:bi2e4:infod1:b0:1:ale1:ai5eee";
        assert_eq!(raw_entry(bytes, "info"), Some(&b"d1:b0:1:ale1:ai5ee"[..]));
        assert_eq!(raw_entry(bytes, "a"), Some(&b"d1:zi1ee"[..]));
        assert_eq!(raw_entry(bytes, "b"), Some(&b"i2e"[..]));
        assert_eq!(raw_entry(bytes, "z"), None);
        assert_eq!(raw_entry(b"d4:info2:lee", "info"), Some(&b"2:le"[..]));
        assert_eq!(raw_entry(b"li1ee", "info"), None);
        assert_eq!(raw_entry(b"d4:infod1:ai1ee4:infolee", "info"), Some(&b"d1:ai1ee"[..]));
    }

    /// Owned data for values, since those borrow.
    #[derive(Debug, Clone)]
    enum Tree {
        Int(i64),
        Bytes(Vec<u8>),
        List(Vec<Tree>),
        Dict(std::collections::BTreeMap<Vec<u8>, Tree>),
    }

    impl Tree {
        fn value(&self) -> Value<'_> {
            match self {
                Self::Int(number) => Value::Int(*number),
                Self::Bytes(bytes) => Value::Bytes(bytes),
                Self::List(list) => Value::List(list.iter().map(Self::value).collect()),
                Self::Dict(dict) => {
                    Value::Dict(Dict(dict.iter().map(|(k, v)| (&k[..], v.value())).collect()))
                }
            }
        }
    }

    fn tree() -> impl Strategy<Value = Tree> {
        let leaf = prop_oneof![
            (-i64::MAX..=i64::MAX).prop_map(Tree::Int),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(Tree::Bytes),
        ];
        leaf.prop_recursive(6, 64, 8, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..8).prop_map(Tree::List),
                proptest::collection::btree_map(proptest::collection::vec(any::<u8>(), 0..8), inner, 0..8)
                    .prop_map(Tree::Dict),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(tree in tree()) {
            let bytes = tree.value().encode();
            prop_assert_eq!(Value::parse(&bytes), Ok(tree.value()));
        }

        #[test]
        fn perturbed_bytes_are_read_or_refused(tree in tree(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            let mut bytes = tree.value().encode();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = raw_entry(&bytes, "a");
            if let Ok((value, end)) = Value::parse_prefix(&bytes) {
                prop_assert!(end <= bytes.len());
                prop_assert_eq!(Value::parse(&value.encode()).map(|again| again.encode()), Ok(value.encode()));
            }
            bytes.truncate(cut.index(bytes.len()));
            let _ = Value::parse(&bytes);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in "[dlie0-9:a-]{0,64}") {
            let _ = raw_entry(bytes.as_bytes(), "a");
            if let Ok((value, end)) = Value::parse_prefix(bytes.as_bytes()) {
                prop_assert!(value.encode().len() <= end);
            }
        }
    }
}
