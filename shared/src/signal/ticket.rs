//! What opens a relay channel at another tracker of a cluster.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::ids;

/// Bytes of a ticket: nobody guesses 128 random bits within the seconds that one holds.
const LEN: usize = 16;

/// A secret of 16 random bytes, written as 32 hexadecimal digits: whoever shows it to the tracker that gave it out opens one
/// relay channel there. It says nothing by itself; that tracker knows whom it is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket([u8; LEN]);

impl Ticket {
    /// That of these bytes.
    pub const fn new(bytes: [u8; LEN]) -> Self {
        Self(bytes)
    }
}

/// Not 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a ticket has 32 hexadecimal digits")]
pub struct NoTicket;

impl FromStr for Ticket {
    type Err = NoTicket;

    fn from_str(text: &str) -> Result<Self, NoTicket> {
        ids::parse_hex(text).map(Self).ok_or(NoTicket)
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ids::write_hex(&self.0, f)
    }
}

/// Without the digits: it is a secret.
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(…)")
    }
}

impl Serialize for Ticket {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ticket {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_32_hexadecimal_digits_and_nothing_else() {
        let ticket = Ticket::new(*b"\x00\x01enxame ticket\xff");
        let text = ticket.to_string();
        assert_eq!((text.len(), text.parse()), (32, Ok(ticket)));
        for wrong in ["", "0", &text[1..], &format!("{text}0"), &format!("+{}", &text[1..]), &"g".repeat(32)]
        {
            assert_eq!(wrong.parse::<Ticket>(), Err(NoTicket), "{wrong:?}");
        }
        assert_eq!(format!("{ticket:?}"), "Ticket(…)", "it is not logged");
    }
}
