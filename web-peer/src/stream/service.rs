//! Starting the service worker, and hearing what it asks.

use std::cell::Cell;
use std::rc::Rc;

use gloo_timers::callback::Interval;
use js_sys::{Array, Reflect};
use wasm_bindgen::JsCast as _;
use wasm_bindgen::prelude::{Closure, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    MessageChannel, MessageEvent, MessagePort, RegistrationOptions, ServiceWorker, ServiceWorkerContainer,
    ServiceWorkerRegistration, ServiceWorkerUpdateViaCache,
};

use super::outlet::Outlet;
use super::request::Request;
use crate::browser_error;

/// The service worker's script, in the page's own folder, which so is its scope.
const SCRIPT: &str = "service-worker.js";

/// How often the service worker is told that it is needed, in milliseconds, while a response is open: browsers end one that
/// hears nothing for 30 seconds, responses or not.
const WAKE_MS: u32 = 10_000;

/// What happens.
pub enum StreamEvent {
    /// Addresses that begin with this are answered from here, from now on.
    Ready(String),
    /// There is no service worker here, and there will be none.
    Unavailable,
    /// Somebody wants this, through that outlet; the number names it in what follows.
    Open(u64, Request, Outlet),
    /// The next chunk is wanted.
    Pull(u64),
    /// No more is wanted.
    Cancel(u64),
}

/// The service worker of this page.
pub struct Service {
    container: ServiceWorkerContainer,
    wake: Option<Interval>,
    // Called for as long as the page lives.
    _on_message: Closure<dyn FnMut(MessageEvent)>,
}

impl Service {
    /// Starts it, if there can be one: browsers allow it over https and on localhost. Everything is reported.
    pub fn start(report: Rc<dyn Fn(StreamEvent)>) -> Option<Self> {
        let navigator = web_sys::window()?.navigator();
        let container: Option<ServiceWorkerContainer> =
            Reflect::get(&navigator, &"serviceWorker".into()).ok().and_then(|found| found.dyn_into().ok());
        let Some(container) = container else {
            report(StreamEvent::Unavailable);
            return None;
        };
        let opened = Cell::new(0);
        let reporting = report.clone();
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            let Some((request, port)) = read(&event) else { return };
            opened.set(opened.get() + 1);
            let outlet = Outlet::new(port, opened.get(), reporting.clone());
            // What cannot be answered breaks off with its outlet.
            if let Some(request) = request {
                reporting(StreamEvent::Open(opened.get(), request, outlet));
            }
        });
        container.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        let registering = container.clone();
        spawn_local(async move {
            report(match base(&registering).await {
                Ok(base) => StreamEvent::Ready(base),
                Err(error) => {
                    log::info!("no service worker: {}", browser_error::sentence(&error));
                    StreamEvent::Unavailable
                }
            });
        });
        Some(Self { container, wake: None, _on_message: on_message })
    }

    /// Keeps the service worker from being ended, as long as a response is open.
    pub fn keep_awake(&mut self, needed: bool) {
        if needed == self.wake.is_some() {
            return;
        }
        let container = self.container.clone();
        self.wake = needed.then(|| {
            Interval::new(WAKE_MS, move || {
                if let Some(worker) = container.controller() {
                    // A string can always be posted.
                    let _ = worker.post_message(&"awake".into());
                }
            })
        });
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.container.set_onmessage(None);
    }
}

/// A message of the service worker: `{path, range}` and a port. `None` for what is none; no request for one that makes no
/// sense.
fn read(event: &MessageEvent) -> Option<(Option<Request>, MessagePort)> {
    let data = event.data();
    let text = |key: &str| Reflect::get(&data, &key.into()).ok().and_then(|value| value.as_string());
    let path = text("path")?;
    let port: MessagePort = event.ports().get(0).dyn_into().ok()?;
    Some((Request::parse(&path, text("range")), port))
}

/// Registers the service worker, and asks it who this page is to it: only so can an address say from which of its tabs the
/// bytes come. By its answer this page is under its control.
async fn base(container: &ServiceWorkerContainer) -> Result<String, JsValue> {
    let options = RegistrationOptions::new();
    options.set_update_via_cache(ServiceWorkerUpdateViaCache::None);
    let registering = container.register_with_options(SCRIPT, &options);
    JsFuture::from(registering).await?;
    let ready: ServiceWorkerRegistration = JsFuture::from(container.ready()?).await?.unchecked_into();
    let active = ready.active().ok_or("it is not active")?;
    let client = ask_who(&active).await?;
    Ok(format!("{}stream/{client}/", ready.scope()))
}

async fn ask_who(worker: &ServiceWorker) -> Result<String, JsValue> {
    let channel = MessageChannel::new()?;
    let answer = js_sys::Promise::new(&mut |resolve, _| {
        let on_answer = Closure::once_into_js(move |event: MessageEvent| {
            // A function that a promise was made with throws nothing.
            let _ = resolve.call1(&JsValue::UNDEFINED, &event.data());
        });
        channel.port1().set_onmessage(Some(on_answer.unchecked_ref()));
    });
    let port = channel.port2();
    worker.post_message_with_transferable(&"who".into(), &Array::of1(&port))?;
    let answer = JsFuture::from(answer).await?;
    channel.port1().close();
    answer.as_string().ok_or_else(|| JsValue::from_str("it gives no name"))
}
