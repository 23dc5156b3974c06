//! One response of the service worker, seen from here: a port that asks for chunks.

use std::rc::Rc;

use js_sys::{Array, ArrayBuffer, Object, Reflect};
use wasm_bindgen::prelude::{Closure, JsValue};
use wasm_bindgen::{JsCast as _, UnwrapThrowExt as _};
use web_sys::{MessageEvent, MessagePort};

use super::request::Head;
use super::service::StreamEvent;

/// One response. Dropping it without [`end`](Self::end) breaks the response off.
pub struct Outlet {
    port: MessagePort,
    ended: bool,
    // Called for as long as the port is open.
    _on_message: Closure<dyn FnMut(MessageEvent)>,
}

impl Outlet {
    /// Reports what comes through this port as being about the response of this number.
    pub(super) fn new(port: MessagePort, number: u64, report: Rc<dyn Fn(StreamEvent)>) -> Self {
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            report(match event.data().as_string().as_deref() {
                Some("pull") => StreamEvent::Pull(number),
                _ => StreamEvent::Cancel(number),
            });
        });
        port.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        Self { port, ended: false, _on_message: on_message }
    }

    /// Sends the head: `{status, headers: [[name, value], …]}`.
    pub fn begin(&self, head: &Head) {
        let headers: Array = head
            .headers
            .iter()
            .map(|(name, value)| Array::of2(&JsValue::from_str(name), &JsValue::from_str(value)))
            .collect();
        let message = Object::new();
        for (key, value) in [("status", JsValue::from(head.status)), ("headers", headers.into())] {
            Reflect::set(&message, &key.into(), &value).expect_throw("a fresh object takes properties");
        }
        self.post(&message);
    }

    /// Answers a pull. The buffer changes hands.
    pub fn chunk(&self, bytes: &ArrayBuffer) {
        // Only what cannot be copied between threads is refused, and a buffer can be.
        let _ = self.port.post_message_with_transferable(bytes, &Array::of1(bytes));
    }

    /// Answers a pull: that was all.
    pub fn end(mut self) {
        self.ended = true;
        self.post(&JsValue::NULL);
    }

    fn post(&self, message: &JsValue) {
        // As above.
        let _ = self.port.post_message(message);
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.port.set_onmessage(None);
        if !self.ended {
            self.post(&JsValue::from_str("gone"));
        }
        self.port.close();
    }
}
