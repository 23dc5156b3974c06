//! The handshake: the first 68 bytes that each side sends (BEP 3).

use crate::ids::{ID_LEN, InfoHash, PeerId};

/// Length of a handshake, in bytes.
pub const HANDSHAKE_LEN: usize = 1 + PROTOCOL.len() + RESERVED_LEN + 2 * ID_LEN;

const PROTOCOL: &[u8; 19] = b"BitTorrent protocol";
const RESERVED_LEN: usize = 8;
/// BEP 10: bit 20 counted from the right, so `reserved[5] & 0x10`.
const EXTENDED: (usize, u8) = (5, 0x10);
/// BEP 6: the third least significant bit, so `reserved[7] & 0x04`.
const FAST: (usize, u8) = (7, 0x04);

/// Why bytes are no handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// They do not begin with the protocol's name: something else speaks there.
    #[error("the other side does not speak the BitTorrent protocol")]
    Protocol,
}

/// Who speaks, about which torrent, and which extensions it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// The torrent.
    pub info_hash: InfoHash,
    /// The speaker.
    pub peer_id: PeerId,
    /// It knows the extension protocol (BEP 10).
    pub extended: bool,
    /// It knows the fast extension (BEP 6).
    pub fast: bool,
}

impl Handshake {
    /// The bytes to send.
    pub fn encode(&self) -> [u8; HANDSHAKE_LEN] {
        let mut bytes = [0; HANDSHAKE_LEN];
        bytes[0] = PROTOCOL.len() as u8;
        bytes[1..20].copy_from_slice(PROTOCOL);
        let reserved = &mut bytes[20..28];
        for (set, (byte, bit)) in [(self.extended, EXTENDED), (self.fast, FAST)] {
            if set {
                reserved[byte] |= bit;
            }
        }
        bytes[28..48].copy_from_slice(self.info_hash.as_bytes());
        bytes[48..68].copy_from_slice(self.peer_id.as_bytes());
        bytes
    }

    /// Reads a handshake; reserved bits of other extensions are ignored.
    ///
    /// # Errors
    /// [`HandshakeError::Protocol`] when the protocol's name is another.
    pub fn decode(bytes: &[u8; HANDSHAKE_LEN]) -> Result<Self, HandshakeError> {
        check_prefix(bytes)?;
        let reserved = &bytes[20..28];
        let mut info_hash = [0; ID_LEN];
        info_hash.copy_from_slice(&bytes[28..48]);
        let mut peer_id = [0; ID_LEN];
        peer_id.copy_from_slice(&bytes[48..68]);
        Ok(Self {
            info_hash: InfoHash::new(info_hash),
            peer_id: PeerId::new(peer_id),
            extended: reserved[EXTENDED.0] & EXTENDED.1 != 0,
            fast: reserved[FAST.0] & FAST.1 != 0,
        })
    }
}

/// Whether these first bytes, however few, can still become a handshake.
pub(super) fn check_prefix(bytes: &[u8]) -> Result<(), HandshakeError> {
    let expected = std::iter::once(PROTOCOL.len() as u8).chain(PROTOCOL.iter().copied());
    if bytes.iter().copied().zip(expected).all(|(byte, expected)| byte == expected) {
        Ok(())
    } else {
        Err(HandshakeError::Protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_a_handshake() {
        let handshake = Handshake {
            info_hash: InfoHash::new([0xaa; 20]),
            peer_id: PeerId::new(*b"-EX0100-abcdefghijkl"),
            extended: true,
            fast: true,
        };
        let mut expected = Vec::new();
        expected.push(19); // length of the protocol's name
        expected.extend_from_slice(b"BitTorrent protocol");
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0x10, 0, 0x04]); // reserved: BEP 10, BEP 6
        expected.extend_from_slice(&[0xaa; 20]); // info-hash
        expected.extend_from_slice(b"-EX0100-abcdefghijkl"); // peer id
        assert_eq!(handshake.encode()[..], expected[..]);
        assert_eq!(Handshake::decode(&handshake.encode()), Ok(handshake));
    }

    #[test]
    fn reserved_bits_are_read_one_by_one_and_others_ignored() {
        let plain = Handshake {
            info_hash: InfoHash::new([1; 20]),
            peer_id: PeerId::new([2; 20]),
            extended: false,
            fast: false,
        };
        let mut bytes = plain.encode();
        bytes[27] = 0x01; // DHT
        bytes[20] = 0x80;
        assert_eq!(Handshake::decode(&bytes), Ok(plain));
        bytes[27] |= 0x04;
        assert_eq!(Handshake::decode(&bytes), Ok(Handshake { fast: true, ..plain }));
    }

    #[test]
    fn another_protocol_is_refused() {
        let mut bytes = [0; HANDSHAKE_LEN];
        assert_eq!(Handshake::decode(&bytes), Err(HandshakeError::Protocol));
        bytes[..20].copy_from_slice(b"\x13BitTorrent protocoL");
        assert_eq!(Handshake::decode(&bytes), Err(HandshakeError::Protocol));
    }
}
