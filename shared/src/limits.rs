//! Every bound on what a stranger may send, in one place: its unit, and why it is what it is.
//!
//! A codec refuses what is above its limit before it allocates.

/// Longest piece that is accepted, in bytes. We make none above 16 MiB; others make 32 MiB ones for very large
/// torrents, and a piece is held in memory until it is verified.
pub const MAX_PIECE_LENGTH: u32 = 64 * 1024 * 1024;

/// Most pieces in a torrent. Each costs 20 bytes of hash and some bytes of bookkeeping for every peer.
pub const MAX_PIECES: u32 = 1_000_000;

/// Longest torrent, in bytes: 8 TiB, above any browser's storage and below 2^53, JavaScript's exact integers.
pub const MAX_TORRENT_BYTES: u64 = 8 << 40;

/// Longest text message between a peer and the tracker, in bytes: ten offers (the most other clients send) of
/// libtorrent's longest session description, 64 KiB, rounded down since real ones have 1 to 3 KiB.
pub const MAX_SIGNAL_BYTES: usize = 512 * 1024;

/// Most offers in one announce that are read; more are ignored. WebTorrent sends 5, libtorrent 10, wt-tracker
/// takes 20.
pub const MAX_OFFERS: usize = 20;

/// Longest session description (SDP) in an offer or an answer, in bytes; libtorrent's limit.
pub const MAX_SDP_BYTES: usize = 64 * 1024;

/// Most ICE servers in a list; Firefox warns from 5 on that more make the search slower.
pub const MAX_ICE_SERVERS: usize = 8;

/// Most addresses of one ICE server: STUN and TURN, over UDP, TCP and TLS.
pub const MAX_ICE_URLS: usize = 8;

/// Longest address of an ICE server, in bytes: a host's name has at most 253, and there are a scheme, a port and a
/// transport around it.
pub const MAX_ICE_URL_BYTES: usize = 300;

/// Longest user name and longest credential of an ICE server, in bytes: TURN takes names below 509 (RFC 8489,
/// section 14.3).
pub const MAX_ICE_SECRET_BYTES: usize = 512;

/// Longest `key` with which a peer proves that a peer id is its own, in bytes: 32 random bytes in hexadecimal.
pub const MAX_KEY_BYTES: usize = 64;

/// Most info-hashes in one scrape.
pub const MAX_SCRAPE_HASHES: usize = 100;

/// Most peers that an announce asks for, or gets.
pub const MAX_NUMWANT: usize = 50;

/// Longest sentence in a message that will be shown to a person, in bytes.
pub const MAX_REASON_BYTES: usize = 256;

/// Most payload in one relay frame, in bytes: one 128 KiB block with its header fits, and a frame is what a
/// slow receiver makes everybody behind it on that socket wait for.
pub const MAX_RELAY_PAYLOAD: usize = 132 * 1024;

/// Bytes that may be on the way in one direction of a relay channel before the receiver gives credit: the
/// bandwidth-delay product of 40 MiB/s at 100 ms. The tracker's memory is at most this, twice a channel.
pub const RELAY_WINDOW: u32 = 4 * 1024 * 1024;

/// Longest address of a tracker at which a relay channel is to be had, in bytes: a host's name has at most 253, and there are
/// a scheme, a port and a path around it.
pub const MAX_RELAY_URL_BYTES: usize = 512;

/// Deepest nesting of lists and dictionaries in bencoded data. A hybrid torrent's file tree (BEP 52) has one level
/// for each part of a path ([`MAX_PATH_PARTS`]) and five around it; everything else has fewer than six.
pub const MAX_BENCODE_DEPTH: usize = 64;

/// Most values and keys in one bencoded message or file: [`MAX_FILES`] files take about eight each. One costs some 24 to
/// 100 bytes of memory for as little as two bytes of input.
pub const MAX_BENCODE_ITEMS: usize = 1_000_000;

/// Longest info dictionary, in bytes: what other clients take over `ut_metadata` at most (10 MB in WebTorrent).
pub const MAX_METADATA_BYTES: usize = 10_000_000;

/// Longest `.torrent` file, in bytes: an info dictionary and, in hybrid ones, as much again for the v2 piece layers.
pub const MAX_TORRENT_FILE_BYTES: usize = 2 * MAX_METADATA_BYTES;

/// Most files in a torrent.
pub const MAX_FILES: usize = 100_000;

/// Most parts in a file's path below the torrent's folder.
pub const MAX_PATH_PARTS: usize = 32;

/// Longest part of a path, or name of a torrent, in bytes of UTF-8: NTFS and APFS take 255 UTF-16 units, of at most
/// three bytes each.
pub const MAX_NAME_BYTES: usize = 3 * 255;

/// Longest path below the torrent's folder, in bytes of UTF-8 with its separators: Linux's `PATH_MAX`.
pub const MAX_PATH_BYTES: usize = 4 * 1024;

/// Most trackers that are kept of a magnet link or a `.torrent` file; further ones are ignored.
pub const MAX_TRACKERS: usize = 100;

/// Longest tracker address, in bytes; longer ones are ignored.
pub const MAX_TRACKER_URL_BYTES: usize = 2 * 1024;

/// Longest text that is read as a hash, magnet link or page link, in bytes: [`MAX_TRACKERS`] addresses of common length,
/// percent-encoded.
pub const MAX_MAGNET_BYTES: usize = 64 * 1024;

/// Most ranges of files that are read from a magnet link's `so` (BEP 53).
pub const MAX_SELECT_RANGES: usize = 1_000;

/// Longest comment, or name of the program that made a `.torrent` file, that is kept, in bytes; the rest is cut off.
pub const MAX_COMMENT_BYTES: usize = 4 * 1024;

/// Longest block that one request may ask for, in bytes: what our own peers agree on, and what WebTorrent closes the
/// connection above.
pub const MAX_BLOCK_BYTES: u32 = 128 * 1024;

/// Longest BEP 10 message, in bytes behind its two ids: `ut_metadata` carries 16 KiB and a short dictionary, extended
/// handshakes and peer exchange a few KiB.
pub const MAX_EXTENDED_BYTES: usize = 64 * 1024;

/// Longest bitfield, in bytes: one bit for each of [`MAX_PIECES`].
pub const MAX_BITFIELD_BYTES: usize = (MAX_PIECES as usize).div_ceil(8);

/// Longest message on the peer wire, in bytes behind its length: a block of [`MAX_BLOCK_BYTES`] with its id, piece and
/// offset, which is longer than any bitfield.
pub const MAX_WIRE_MESSAGE: usize = 9 + MAX_BLOCK_BYTES as usize;

/// Longest program name and version that a peer may give itself, in bytes of UTF-8; the rest is cut off.
pub const MAX_CLIENT_NAME_BYTES: usize = 64;

/// Most peers that a neighbour names at a time in `enxame_signal`: as many as a session links to.
pub const MAX_MEMBERS: usize = 50;

/// Longest session description that a neighbour forwards, in bytes: those of data channels have 1 to 3 KiB, and neighbours
/// carry them as a favour.
pub const MAX_INTRODUCED_SDP_BYTES: usize = 16 * 1024;
