//! The agenda keeps its order.

use std::time::Duration;

use engine::Time;

use crate::agenda::{Agenda, SLOT_BITS, SLOTS};

#[test]
fn what_is_due_comes_in_the_order_of_time_and_then_of_being_put_down() {
    let mut rng = fastrand::Rng::with_seed(1);
    let (mut agenda, mut now, mut left) = (Agenda::new(), Time::default(), Vec::new());
    // Now, within a slot, within all slots, and far away.
    let reaches = [1, 1 << 10, 1 << SLOT_BITS, SLOTS << SLOT_BITS, SLOTS << (SLOT_BITS + 4)];
    let mut number = 0;
    for round in 0..2000 {
        for _ in 0..rng.usize(0..6) {
            let reach = reaches[rng.usize(0..reaches.len())];
            let time = now + Duration::from_nanos(rng.u64(0..reach));
            number += 1;
            agenda.put(time, number);
            left.push((time, number));
        }
        left.sort_unstable();
        let pause = if round == 1999 { 1 << 42 } else { rng.u64(0..4 << SLOT_BITS) };
        now = now + Duration::from_nanos(pause);
        for first in left.extract_if(.., |(time, _)| *time <= now) {
            assert_eq!(agenda.next(now), Some(first));
        }
        assert_eq!(agenda.next(now), None);
    }
    assert!(left.is_empty() && number > 4000);
}
