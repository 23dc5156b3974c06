//! Dedicated workers: starting one, asking it, and answering inside it.
//!
//! A message is one JavaScript array in either direction: a number, a value, and then buffers, blobs or files. The
//! number is the request's id, which its answer repeats. The value is a few bytes (serde, postcard), whose types
//! belong to whoever talks (`store::protocol`, `verify::protocol`): JSON would be larger, and slower to read. Buffers change hands without being copied. Number 0 is the worker speaking about itself, in a string:
//! `READY` once its WebAssembly runs, or else its last words.
//!
//! Every worker runs the page's own program and learns its role by its name. It begins with a script of a few lines
//! (`www/worker.js`), to which the page sends the address of its own script and its compiled WebAssembly: nothing is
//! loaded or compiled twice. Addresses are relative to the document's base, so the page works under any path.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::{Rc, Weak};

use futures::channel::oneshot;
use gloo_timers::callback::Timeout;
use js_sys::{Array, ArrayBuffer, Uint8Array};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::order::SortedMap;
use wasm_bindgen::prelude::*;
use web_sys::{DedicatedWorkerGlobalScope, ErrorEvent, MessageEvent, Url, Worker, WorkerOptions};

/// What a worker begins with. Its name is never hashed.
const SCRIPT: &str = "worker.js";

/// What a worker says about itself when it can take messages.
const READY: &str = "ready";

/// Milliseconds in which a worker must say that it is ready. The page has its program already, so this is a browser or
/// a line so slow that the page itself would hardly have come; without a limit a script that fails to load would be silence.
const START_LIMIT_MS: u32 = 60_000;

/// A worker ended, or never began; the sentence says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a background worker stopped: {0}")]
pub struct WorkerGone(String);

/// Something that goes beside the value of a message.
#[derive(Debug)]
pub enum Part {
    /// A buffer that changes hands: empty here afterwards.
    Moved(ArrayBuffer),
    /// A file or blob: a handle, whose bytes stay where they are.
    Shared(JsValue),
}

impl Part {
    /// A copy of these bytes in a buffer of its own, ready to change hands.
    pub fn copied(bytes: &[u8]) -> Self {
        Self::Moved(Uint8Array::from(bytes).buffer())
    }
}

/// An answer, or what a worker answers: a value and what goes beside it.
#[derive(Debug)]
pub struct Message<T, P> {
    /// The value.
    pub body: T,
    /// What goes beside it.
    pub parts: Vec<P>,
}

impl<T, P> Message<T, P> {
    /// A value with nothing beside it.
    pub fn bare(body: T) -> Self {
        Self { body, parts: Vec::new() }
    }
}

/// The array to post, and the list of what changes hands.
fn pack(id: u64, value: &JsValue, parts: Vec<Part>) -> (Array, Array) {
    let message = Array::of2(&JsValue::from_f64(id as f64), value);
    let moved = Array::new();
    for part in parts {
        match part {
            Part::Moved(buffer) => {
                message.push(&buffer);
                moved.push(&buffer);
            }
            Part::Shared(value) => {
                message.push(&value);
            }
        }
    }
    (message, moved)
}

/// The other direction: id, value, and what came beside it. `None` for what is no message of ours.
fn unpack(data: &JsValue) -> Option<(u64, JsValue, Vec<JsValue>)> {
    let message: &Array = data.dyn_ref()?;
    let id = message.get(0).as_f64()?;
    Some((id as u64, message.get(1), message.iter().skip(2).collect()))
}

/// A value as it is posted.
fn encode<T: Serialize>(value: &T) -> Result<JsValue, String> {
    let bytes = postcard::to_allocvec(value).map_err(|error| error.to_string())?;
    Ok(Uint8Array::from(bytes.as_slice()).into())
}

fn decode<T: DeserializeOwned>(value: &JsValue) -> Result<T, String> {
    let bytes: &Uint8Array = value.dyn_ref().ok_or("no value")?;
    postcard::from_bytes(&bytes.to_vec()).map_err(|error| error.to_string())
}

/// The page's end of one worker. Dropping it ends the worker.
pub struct Dedicated {
    inner: Rc<Inner>,
}

type Answer = Result<(JsValue, Vec<JsValue>), WorkerGone>;

/// Invariant: requests are queued only while the worker is not ready, and nothing is pending once it is gone.
struct Inner {
    worker: Option<Worker>,
    last_id: Cell<u64>,
    ready: Cell<bool>,
    gone: RefCell<Option<WorkerGone>>,
    queued: RefCell<Vec<(Array, Array)>>,
    pending: RefCell<SortedMap<u64, oneshot::Sender<Answer>>>,
    start_limit: RefCell<Option<Timeout>>,
    on_message: Closure<dyn FnMut(MessageEvent)>,
    on_error: Closure<dyn FnMut(ErrorEvent)>,
}

impl Dedicated {
    /// Starts a worker with this role. A failure shows in the answer to the first request.
    pub fn start(role: &str) -> Self {
        let started = Self::start_script(SCRIPT, role);
        match program() {
            Some(program) => started.inner.give(&program),
            None => started.inner.end("the page does not say what its program is"),
        }
        started
    }

    /// Starts a worker with this script, which must speak as [`serve`] does.
    pub fn start_script(script: &str, role: &str) -> Self {
        let options = WorkerOptions::new();
        options.set_name(role);
        let started = Worker::new_with_options(script, &options);
        let inner = Rc::new_cyclic(|weak: &Weak<Inner>| {
            let for_messages = weak.clone();
            let for_errors = weak.clone();
            let for_limit = weak.clone();
            Inner {
                worker: started.as_ref().ok().cloned(),
                last_id: Cell::new(0),
                ready: Cell::new(false),
                gone: RefCell::new(None),
                queued: RefCell::default(),
                pending: RefCell::default(),
                start_limit: RefCell::new(Some(Timeout::new(START_LIMIT_MS, move || {
                    if let Some(inner) = for_limit.upgrade() {
                        inner.end("it did not start");
                    }
                }))),
                on_message: Closure::new(move |event: MessageEvent| {
                    if let Some(inner) = for_messages.upgrade() {
                        inner.receive(&event.data());
                    }
                }),
                on_error: Closure::new(move |event: ErrorEvent| {
                    if let Some(inner) = for_errors.upgrade() {
                        // A script that cannot be loaded gives a plain event, which has no message.
                        let message = js_sys::Reflect::get(&event, &"message".into()).ok();
                        let message = message.and_then(|message| message.as_string());
                        inner.end(message.as_deref().unwrap_or("its script could not be loaded"));
                    }
                }),
            }
        });
        match started {
            Ok(worker) => {
                worker.set_onmessage(Some(inner.on_message.as_ref().unchecked_ref()));
                worker.set_onerror(Some(inner.on_error.as_ref().unchecked_ref()));
            }
            Err(error) => inner.end(&crate::browser_error::sentence(&error)),
        }
        Self { inner }
    }

    /// Why the worker is gone, if it is.
    pub fn gone(&self) -> Option<WorkerGone> {
        self.inner.gone.borrow().clone()
    }

    /// Asks. The request is on its way when this returns, in the order of the calls; awaiting gives the answer.
    pub fn request<Q, R>(
        &self,
        body: &Q,
        parts: Vec<Part>,
    ) -> impl Future<Output = Result<Message<R, JsValue>, WorkerGone>> + use<Q, R>
    where
        Q: Serialize,
        R: DeserializeOwned,
    {
        let answer = match encode(body) {
            Ok(value) => self.inner.send(&value, parts),
            Err(error) => refused(WorkerGone(error)),
        };
        async move {
            let (value, parts) = answer.await.map_err(|_| WorkerGone("the page let it go".into()))??;
            Ok(Message { body: decode(&value).map_err(WorkerGone)?, parts })
        }
    }
}

fn refused(reason: WorkerGone) -> oneshot::Receiver<Answer> {
    let (sender, receiver) = oneshot::channel();
    // The receiver is in hand, so this cannot fail.
    drop(sender.send(Err(reason)));
    receiver
}

/// The page's own script, by its whole address, and its compiled WebAssembly, as `www/worker.js` takes them. `None` in a
/// page that does not name its script as ours does (see Trunk.toml).
fn program() -> Option<Array> {
    let document = web_sys::window()?.document()?;
    let script = document.query_selector("[data-js]").ok()??.get_attribute("data-js")?;
    let script = Url::new_with_base(&script, &document.base_uri().ok()??).ok()?;
    Some(Array::of2(&script.href().into(), &wasm_bindgen::module()))
}

impl Inner {
    /// Sends the program: the first message of all.
    fn give(&self, program: &Array) {
        let Some(worker) = &self.worker else { return };
        if let Err(error) = worker.post_message(program) {
            self.end(&crate::browser_error::sentence(&error));
        }
    }

    fn send(&self, value: &JsValue, parts: Vec<Part>) -> oneshot::Receiver<Answer> {
        if let Some(gone) = &*self.gone.borrow() {
            return refused(gone.clone());
        }
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        let (message, moved) = pack(id, value, parts);
        let (sender, receiver) = oneshot::channel();
        self.pending.borrow_mut().insert(id, sender);
        if self.ready.get() {
            self.post(id, &message, &moved);
        } else {
            self.queued.borrow_mut().push((message, moved));
        }
        receiver
    }

    fn post(&self, id: u64, message: &Array, moved: &Array) {
        let Some(worker) = &self.worker else { return };
        if let Err(error) = worker.post_message_with_transfer(message, moved)
            && let Some(sender) = self.pending.borrow_mut().remove(&id)
        {
            // Whoever asked may have stopped waiting.
            drop(sender.send(Err(WorkerGone(crate::browser_error::sentence(&error)))));
        }
    }

    fn receive(&self, data: &JsValue) {
        let Some((id, value, parts)) = unpack(data) else { return };
        if id != 0 {
            let sender = self.pending.borrow_mut().remove(&id);
            if let Some(sender) = sender {
                // Whoever asked may have stopped waiting.
                drop(sender.send(Ok((value, parts))));
            }
        } else if value == READY {
            self.ready.set(true);
            self.start_limit.take();
            for (message, moved) in self.queued.take() {
                let id = message.get(0).as_f64().unwrap_or_default() as u64;
                self.post(id, &message, &moved);
            }
        } else {
            self.end(&value.as_string().unwrap_or_default());
        }
    }

    /// Ends the worker and fails everything that waits for it.
    fn end(&self, reason: &str) {
        let gone = self.gone.borrow_mut().get_or_insert_with(|| WorkerGone(reason.to_owned())).clone();
        if let Some(worker) = &self.worker {
            worker.terminate();
        }
        self.start_limit.take();
        self.queued.take();
        for (_, sender) in self.pending.take() {
            // Whoever asked may have stopped waiting.
            drop(sender.send(Err(gone.clone())));
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(worker) = &self.worker {
            worker.set_onmessage(None);
            worker.set_onerror(None);
            worker.terminate();
        }
    }
}

/// Inside a worker: its global object. `None` in a page.
fn scope() -> Option<DedicatedWorkerGlobalScope> {
    js_sys::global().dyn_into().ok()
}

/// Inside a worker: the role it was started with. `None` in a page.
pub fn role() -> Option<String> {
    Some(scope()?.name())
}

/// Inside a worker: a message about itself, which is all it says unasked.
fn announce(scope: &DedicatedWorkerGlobalScope, text: &str) {
    let (message, moved) = pack(0, &JsValue::from_str(text), Vec::new());
    // There is nobody else to tell.
    drop(scope.post_message_with_transfer(&message, &moved));
}

/// Inside a worker: answers every request with what `handler` makes of it, several at a time, for as long as the
/// worker lives. What the handler does before it first waits is done before the next request is looked at. A panic, or
/// a promise's failure that nobody handles, is told to the page, which then ends this worker.
pub fn serve<Q, R, H, F>(handler: H)
where
    Q: DeserializeOwned,
    R: Serialize,
    H: Fn(Q, Vec<JsValue>) -> F + 'static,
    F: Future<Output = Message<R, Part>> + 'static,
{
    let Some(scope) = scope() else { return };
    std::panic::set_hook(Box::new(|info| {
        console_error_panic_hook::hook(info);
        if let Some(scope) = self::scope() {
            announce(&scope, &info.to_string());
        }
    }));
    let on_rejection = Closure::<dyn FnMut(JsValue)>::new(|event: JsValue| {
        let reason = js_sys::Reflect::get(&event, &"reason".into()).unwrap_or(event);
        if let Some(scope) = self::scope() {
            announce(&scope, &crate::browser_error::sentence(&reason));
        }
    });
    let listening = scope
        .add_event_listener_with_callback("unhandledrejection", on_rejection.into_js_value().unchecked_ref());
    if let Err(error) = listening {
        announce(&scope, &crate::browser_error::sentence(&error));
        return;
    }

    let out = scope.clone();
    let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
        let Some((id, value, parts)) = unpack(&event.data()) else { return };
        let body = match decode(&value) {
            Ok(body) => body,
            Err(error) => return announce(&out, &error),
        };
        let answering = handler(body, parts);
        let out = out.clone();
        wasm_bindgen_futures::spawn_local(async move {
            let Message { body, parts } = answering.await;
            match encode(&body) {
                Ok(value) => {
                    let (message, moved) = pack(id, &value, parts);
                    if let Err(error) = out.post_message_with_transfer(&message, &moved) {
                        announce(&out, &crate::browser_error::sentence(&error));
                    }
                }
                Err(error) => announce(&out, &error),
            }
        });
    });
    scope.set_onmessage(Some(on_message.into_js_value().unchecked_ref()));
    announce(&scope, READY);
}

/// What came beside a message at this place, as this type.
pub fn part<T: JsCast>(parts: &[JsValue], index: usize) -> Option<T> {
    parts.get(index)?.clone().dyn_into().ok()
}
