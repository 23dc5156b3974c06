//! The bytes of one direction of one relay channel.

use shared::limits::RELAY_WINDOW;

/// Which rule of the credits was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CreditError {
    /// The sender sent more than it had credit for.
    #[error("more was sent than there was credit for")]
    Exceeded,
    /// The receiver gave credit for more than it had been sent.
    #[error("credit was given for bytes that were not delivered")]
    NotDelivered,
}

/// The bytes of one direction of one relay channel: accepted from the sender, delivered to the receiver's socket, and
/// credited by the receiver, each a part of the one before.
///
/// Invariant: `held <= unpaid <= RELAY_WINDOW`, where `held` bytes are accepted but not delivered, and `unpaid` bytes are
/// accepted but not credited. Since the receiver can give credit only for what was delivered, no understanding between
/// the two ends makes the tracker hold more than the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Credit {
    held: u32,
    unpaid: u32,
}

impl Credit {
    /// The sender sent this many bytes.
    ///
    /// # Errors
    /// [`CreditError::Exceeded`] when it may not; nothing is counted then.
    pub fn accept(&mut self, bytes: usize) -> Result<(), CreditError> {
        let bytes =
            u32::try_from(bytes).ok().filter(|bytes| *bytes <= self.room()).ok_or(CreditError::Exceeded)?;
        self.held += bytes;
        self.unpaid += bytes;
        Ok(())
    }

    /// This many of the held bytes went to the receiver.
    pub fn deliver(&mut self, bytes: usize) {
        // What is delivered was accepted, so it fits; saturating, because a wrong sum must not end the server.
        self.held = self.held.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// The receiver gives credit for this many bytes.
    ///
    /// # Errors
    /// [`CreditError::NotDelivered`] when it was not sent so many; nothing is counted then.
    pub fn give(&mut self, bytes: u32) -> Result<(), CreditError> {
        if bytes > self.unpaid - self.held {
            return Err(CreditError::NotDelivered);
        }
        self.unpaid -= bytes;
        Ok(())
    }

    /// Bytes accepted and not delivered.
    pub fn held(&self) -> u32 {
        self.held
    }

    /// Bytes that the sender may send now.
    pub fn room(&self) -> u32 {
        RELAY_WINDOW - self.unpaid
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_sender_may_fill_the_window_and_not_a_byte_more() {
        let mut credit = Credit::default();
        assert_eq!(credit.accept(RELAY_WINDOW as usize), Ok(()));
        assert_eq!(credit.accept(1), Err(CreditError::Exceeded));
        assert_eq!(credit.accept(usize::MAX), Err(CreditError::Exceeded));
        assert_eq!(credit.held(), RELAY_WINDOW);
    }

    #[test]
    fn credit_can_be_given_only_for_what_was_delivered() {
        let mut credit = Credit::default();
        credit.accept(100).unwrap();
        assert_eq!(credit.give(1), Err(CreditError::NotDelivered));
        credit.deliver(60);
        assert_eq!(credit.give(61), Err(CreditError::NotDelivered));
        assert_eq!(credit.give(60), Ok(()));
        assert_eq!(credit.room(), RELAY_WINDOW - 40);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Accept(usize),
        Deliver(u32),
        Give(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        let bytes = 0..=RELAY_WINDOW;
        prop_oneof![
            (0..=RELAY_WINDOW as usize + 1).prop_map(Step::Accept),
            bytes.clone().prop_map(Step::Deliver),
            bytes.prop_map(Step::Give),
        ]
    }

    proptest! {
        #[test]
        fn whatever_both_ends_do_the_sums_agree_and_stay_in_the_window(steps in proptest::collection::vec(step(), 0..200)) {
            let mut credit = Credit::default();
            let (mut accepted, mut delivered, mut credited) = (0_u64, 0_u64, 0_u64);
            for step in steps {
                match step {
                    Step::Accept(bytes) => {
                        let allowed = accepted + bytes as u64 <= credited + u64::from(RELAY_WINDOW);
                        prop_assert_eq!(credit.accept(bytes).is_ok(), allowed);
                        accepted += if allowed { bytes as u64 } else { 0 };
                    }
                    Step::Deliver(bytes) => {
                        let bytes = bytes.min(credit.held());
                        credit.deliver(bytes as usize);
                        delivered += u64::from(bytes);
                    }
                    Step::Give(bytes) => {
                        let allowed = credited + u64::from(bytes) <= delivered;
                        prop_assert_eq!(credit.give(bytes).is_ok(), allowed);
                        credited += if allowed { u64::from(bytes) } else { 0 };
                    }
                }
                prop_assert_eq!(u64::from(credit.held()), accepted - delivered);
                prop_assert_eq!(u64::from(credit.room()), credited + u64::from(RELAY_WINDOW) - accepted);
                prop_assert!(credit.held() <= RELAY_WINDOW);
            }
        }
    }
}
