//! Turns of the browser's main thread, which the driver shares with the user: keys, clicks and frames wait while it works.
//!
//! What arrives wakes the driver within the browser's own task, and goes on waking it there for as long as there is more: a fast
//! sender would keep the page from answering. So the driver works for [`LONGEST`] at a stretch, then waits until the browser has
//! looked for something better to do. It waits for a message to itself, since browsers slow timers down, hidden pages' above all.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use engine::Time;
use futures::channel::oneshot;
use wasm_bindgen::prelude::*;
use web_sys::MessageChannel;

use super::alarm::now;

/// How long the driver works at a stretch: half of what a frame takes. A turn costs some tens of microseconds.
const LONGEST: Duration = Duration::from_millis(8);

/// The driver's turn, which began at some time.
pub(super) struct Turn {
    began: Time,
    messages: Option<Messages>,
}

impl Turn {
    /// Begins now.
    pub(super) fn new() -> Self {
        Self { began: now(), messages: Messages::open() }
    }

    /// Whether it has lasted long enough. Time spent waiting counts as well: who is not in a hurry loses nothing by one turn more.
    pub(super) fn is_over(&self) -> bool {
        now().since(self.began) >= LONGEST
    }

    /// Lets the browser do something else first. At once in one that cannot tell when it has.
    pub(super) async fn pass(&mut self) {
        if let Some(messages) = &self.messages {
            messages.come_and_go().await;
        }
        self.began = now();
    }
}

/// Messages to ourselves.
struct Messages {
    channel: MessageChannel,
    waiting: Rc<RefCell<Option<oneshot::Sender<()>>>>,
    _heard: Closure<dyn FnMut()>,
}

impl Messages {
    fn open() -> Option<Self> {
        let channel = MessageChannel::new().ok()?;
        let waiting = Rc::<RefCell<Option<oneshot::Sender<()>>>>::default();
        let heard = {
            let waiting = Rc::clone(&waiting);
            Closure::new(move || {
                if let Some(waits) = waiting.take() {
                    // Whoever waited may have been dropped.
                    let _ = waits.send(());
                }
            })
        };
        // Opens the port, too.
        channel.port1().set_onmessage(Some(heard.as_ref().unchecked_ref()));
        Some(Self { channel, waiting, _heard: heard })
    }

    /// Sends one, and waits for it.
    async fn come_and_go(&self) {
        let (waits, waited) = oneshot::channel();
        self.waiting.replace(Some(waits));
        if self.channel.port2().post_message(&JsValue::NULL).is_ok() {
            // Dropped only with the page.
            let _ = waited.await;
        }
    }
}
