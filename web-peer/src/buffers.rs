//! Buffers in JavaScript's memory, which is not Rust's: they are freed when the browser collects its garbage, and a page and
//! each of its workers let some 64 MiB gather before they do. What passes hundreds of mebibytes through buffers therefore uses
//! the same ones over and over ([`Pool`]) where it can. Where the browser makes a new one for each message or read, it is
//! told how much has become garbage ([`let_go`]), and collects sooner. docs/FIGURES.md has what that saves.
//!
//! No better way was found: JavaScript's `transfer(0)` empties a buffer for the script, but the browser keeps the memory, and
//! no longer counts it as something to collect; sending it to nobody frees it late and costs a copy (measured in Chromium 156).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use bytes::Bytes;
use js_sys::{Array, ArrayBuffer, Function, Reflect, Uint8Array};
use wasm_bindgen::JsCast as _;

/// Bytes that a pool keeps, at most: what two peers have under way between the page and the storage worker.
const KEPT: u32 = 4 << 20;

/// Bytes of garbage that may gather in a page or worker. Collecting costs some milliseconds, however much there is.
const GARBAGE: u32 = 16 << 20;

/// Length of a buffer that makes a browser collect, in bytes: as much as it lets gather. No memory stands behind it, since
/// nobody touches it.
const ENCOURAGEMENT: u32 = 64 << 20;

thread_local! {
    static GATHERED: Cell<u32> = const { Cell::new(0) };
}

/// Buffers of so many bytes have become garbage.
pub fn let_go(bytes: u32) {
    let gathered = GATHERED.get().saturating_add(bytes);
    let is_due = gathered >= GARBAGE;
    GATHERED.set(if is_due { 0 } else { gathered });
    if is_due {
        encourage_collecting(1);
    }
}

/// Makes the browser collect its garbage soon, if anything does; `urgency` is how many times over. On a quiet machine it does
/// so some tens of milliseconds later.
pub fn encourage_collecting(urgency: usize) {
    // Not by its type: the constructor throws where there is no address space, and then nothing is lost.
    let Ok(class) = Reflect::get(&js_sys::global(), &"ArrayBuffer".into()) else { return };
    let length = Array::of1(&ENCOURAGEMENT.into());
    for _ in 0..urgency {
        if Reflect::construct(class.unchecked_ref::<Function>(), &length).is_err() {
            return;
        }
    }
}

/// A copy in Rust's memory.
pub fn copied(buffer: &ArrayBuffer) -> Bytes {
    Uint8Array::new(buffer).to_vec().into()
}

/// A copy in Rust's memory; the buffer is garbage from now on.
pub fn taken(buffer: &ArrayBuffer) -> Bytes {
    let bytes = copied(buffer);
    let_go(buffer.byte_length());
    bytes
}

/// Buffers that go round between the page and a worker: lent with a question, given back with its answer.
///
/// Invariant: those kept have [`KEPT`] bytes together, at most.
#[derive(Debug, Default)]
pub struct Pool {
    idle: RefCell<VecDeque<ArrayBuffer>>,
}

impl Pool {
    /// A buffer of so many bytes, whatever is in them.
    pub fn lend(&self, len: u32) -> ArrayBuffer {
        let mut idle = self.idle.borrow_mut();
        // The one used last is the likeliest to be in a processor's cache.
        let found = idle.iter().rposition(|buffer| buffer.byte_length() == len);
        found.and_then(|index| idle.remove(index)).unwrap_or_else(|| ArrayBuffer::new(len))
    }

    /// A buffer with these bytes.
    pub fn filled(&self, bytes: &[u8]) -> ArrayBuffer {
        // Torrents' pieces are shorter than 4 GiB (`shared::limits::MAX_PIECE_LENGTH`).
        let buffer = self.lend(bytes.len() as u32);
        Uint8Array::new(&buffer).copy_from(bytes);
        buffer
    }

    /// Takes a buffer back. What is too much then is let go, the one that waited longest first; one that alone is too much at
    /// once, and the others stay.
    pub fn give_back(&self, buffer: ArrayBuffer) {
        if buffer.byte_length() > KEPT {
            return let_go(buffer.byte_length());
        }
        let mut idle = self.idle.borrow_mut();
        idle.push_back(buffer);
        let mut kept: u32 = idle.iter().fold(0, |sum, buffer| sum.saturating_add(buffer.byte_length()));
        while kept > KEPT
            && let Some(oldest) = idle.pop_front()
        {
            kept -= oldest.byte_length();
            let_go(oldest.byte_length());
        }
    }

    /// Bytes that it keeps.
    pub fn kept(&self) -> u32 {
        self.idle.borrow().iter().map(ArrayBuffer::byte_length).sum()
    }
}
