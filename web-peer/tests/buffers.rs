//! Buffers that go round, in a real browser.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, reason = "clippy does not see that these are tests")]

use js_sys::{ArrayBuffer, Object, Uint8Array};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_peer::buffers::{Pool, copied, encourage_collecting, let_go, taken};

wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen_test]
fn a_buffer_that_came_back_is_lent_again_to_who_needs_just_as_many_bytes() {
    let pool = Pool::default();
    let first = pool.filled(b"one");
    pool.give_back(first.clone());
    let other = pool.lend(4);
    assert!(!Object::is(&other, &first));
    assert_eq!(other.byte_length(), 4);
    let again = pool.filled(b"two");
    assert!(Object::is(&again, &first));
    assert_eq!(&copied(&again)[..], b"two");
    assert!(!Object::is(&pool.lend(3), &first), "it is out");
}

#[wasm_bindgen_test]
fn a_pool_is_bounded_and_lets_go_of_what_waited_longest() {
    let pool = Pool::default();
    let buffers: Vec<_> = (0..6).map(|_| ArrayBuffer::new(1 << 20)).collect();
    for buffer in &buffers {
        pool.give_back(buffer.clone());
    }
    assert_eq!(pool.kept(), 4 << 20);
    for buffer in buffers[2..].iter().rev() {
        assert!(Object::is(&pool.lend(1 << 20), buffer));
    }
    assert_eq!(pool.kept(), 0);
    // One that is longer than all that is kept is not kept at all, and nothing goes for it.
    pool.give_back(ArrayBuffer::new(1 << 20));
    pool.give_back(ArrayBuffer::new(5 << 20));
    assert_eq!(pool.kept(), 1 << 20);
}

#[wasm_bindgen_test]
fn what_is_taken_is_a_copy_and_asking_to_collect_leaves_what_is_in_use() {
    let buffer = Uint8Array::from(&b"bytes"[..]).buffer();
    assert_eq!(&taken(&buffer)[..], b"bytes");
    for _ in 0..3 {
        let_go(u32::MAX);
    }
    encourage_collecting(4);
    assert_eq!(&copied(&buffer)[..], b"bytes");
}
