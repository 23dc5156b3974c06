//! What is read in a session description (SDP, RFC 8866) before the browser gets it, and what is changed in our own.
//!
//! The browser checks descriptions itself; here stands what it would do for a stranger and we would not: media, checks
//! sent to hundreds of addresses, messages of a few bytes.

use shared::limits::MAX_SDP_BYTES;
use shared::signal::SessionDescription;

/// Most ICE candidates in a description. Each makes this browser send packets to an address that the other side chose;
/// a computer with many networks and two STUN servers has some twenty.
const MAX_CANDIDATES: usize = 64;

/// Longest message that the other side takes if it does not say, in bytes (RFC 8841, section 6.1).
const DEFAULT_MAX_MESSAGE: usize = 64 * 1024;

/// Least `a=max-message-size` that is accepted, in bytes: below it we would work for the messages and not for the bytes.
const LEAST_MAX_MESSAGE: usize = 1024;

/// Whether a description makes an offer or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Offer,
    Answer,
}

impl Kind {
    /// The word on the wire.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Answer => "answer",
        }
    }
}

/// Reads the other side's description. Returns the longest message that it takes, in bytes.
///
/// # Errors
/// A sentence without a word of the description, which holds addresses.
pub(super) fn check(description: &SessionDescription, kind: Kind) -> Result<usize, String> {
    if description.kind != kind.word() {
        return Err(format!("not an {}", kind.word()));
    }
    if description.sdp.len() > MAX_SDP_BYTES {
        return Err(format!("{} bytes are too long", description.sdp.len()));
    }
    let mut max_message = DEFAULT_MAX_MESSAGE;
    let (mut data, mut candidates) = (false, 0);
    for line in description.sdp.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            if !media.starts_with("application ") {
                return Err("it asks for sound or pictures".into());
            }
            data = true;
        } else if line.starts_with("a=candidate:") {
            candidates += 1;
        } else if let Some(size) = line.strip_prefix("a=max-message-size:") {
            // Not a number is not said; beyond 64 bits is as good as any size, which is 0 on the wire.
            max_message = match size.trim().parse::<u64>() {
                Ok(0) => usize::MAX,
                Ok(size) => usize::try_from(size).unwrap_or(usize::MAX),
                Err(_) => DEFAULT_MAX_MESSAGE,
            };
        }
    }
    if !data {
        return Err("it has no data channel".into());
    }
    if candidates > MAX_CANDIDATES {
        return Err(format!("{candidates} candidates are too many"));
    }
    if max_message < LEAST_MAX_MESSAGE {
        return Err(format!("messages of {max_message} bytes are too short"));
    }
    Ok(max_message)
}

/// Our own description as it goes out: without the promise that more candidates follow, since none do.
pub(super) fn without_trickle(sdp: &str) -> String {
    sdp.split_inclusive('\n').filter(|line| line.trim_end() != "a=ice-options:trickle").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=ice-options:trickle\r\na=sctp-port:5000\r\n";

    fn offer(sdp: impl Into<String>) -> SessionDescription {
        SessionDescription { kind: "offer".into(), sdp: sdp.into() }
    }

    #[test]
    fn the_longest_message_is_what_the_other_side_says_or_64_kib() {
        let said = |size: &str| check(&offer(format!("{OFFER}a=max-message-size:{size}\r\n")), Kind::Offer);
        assert_eq!(check(&offer(OFFER), Kind::Offer), Ok(65_536));
        assert_eq!(said("262144"), Ok(262_144));
        assert_eq!(said("0"), Ok(usize::MAX));
        assert_eq!(said("99999999999999999999"), Ok(65_536));
        assert_eq!(said("many"), Ok(65_536));
        assert!(said("1").is_err());
    }

    #[test]
    fn an_offer_is_no_answer() {
        assert!(check(&offer(OFFER), Kind::Answer).is_err());
        let answer = SessionDescription { kind: "answer".into(), sdp: OFFER.into() };
        assert!(check(&answer, Kind::Answer).is_ok());
        let pranswer = SessionDescription { kind: "pranswer".into(), sdp: OFFER.into() };
        assert!(check(&pranswer, Kind::Answer).is_err());
    }

    #[test]
    fn what_is_too_long_or_no_description_or_more_than_a_data_channel_is_refused() {
        for sdp in ["", "garbage", "\0", "v=0", &format!("{OFFER}m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n")] {
            assert!(check(&offer(sdp), Kind::Offer).is_err(), "{sdp}");
        }
        let padding = "a=x\r\n".repeat(MAX_SDP_BYTES / 5);
        assert!(check(&offer(format!("{OFFER}{padding}")), Kind::Offer).is_err());
    }

    #[test]
    fn a_list_of_addresses_to_knock_at_is_refused() {
        let candidates = |n| format!("{OFFER}{}", "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n".repeat(n));
        assert!(check(&offer(candidates(MAX_CANDIDATES)), Kind::Offer).is_ok());
        let refused = check(&offer(candidates(MAX_CANDIDATES + 1)), Kind::Offer).unwrap_err();
        assert!(!refused.contains("192"));
    }

    #[test]
    fn the_promise_of_more_candidates_is_taken_out_and_nothing_else_is() {
        let without = without_trickle(OFFER);
        assert_eq!(without, OFFER.replace("a=ice-options:trickle\r\n", ""));
        assert_eq!(without_trickle(&without), without);
        assert_eq!(without_trickle(""), "");
    }
}
