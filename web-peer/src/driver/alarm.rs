//! The driver's clock, and the one thing it waits for beside events: the next deadline.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use engine::Time;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{LocalBoxFuture, select};
use gloo_timers::future::TimeoutFuture;
use js_sys::Array;
use wasm_bindgen::prelude::*;
use web_sys::{MessageEvent, Worker};

/// What waits in a worker, beside the page's own files.
const SCRIPT: &str = "clock.js";

thread_local! {
    /// Looked up once: it is read for every batch of events.
    static PERFORMANCE: Option<web_sys::Performance> = web_sys::window().and_then(|window| window.performance());
}

/// The browser's monotonic clock.
pub(super) fn now() -> Time {
    let milliseconds = PERFORMANCE.with(|clock| clock.as_ref().map_or(0.0, web_sys::Performance::now));
    Time::since_start(Duration::from_secs_f64(milliseconds.max(0.0) / 1000.0))
}

/// One timer, set anew only when the deadline comes nearer: a timer a message would cost more than some early wake-ups.
///
/// A hidden page's timers are slowed down to one a second, or one a minute. Bytes do not wait for them, but a speed
/// limit does, and whoever stands still is found out by them; so a hidden page waits in a worker as well.
#[derive(Default)]
pub(super) struct Alarm {
    armed: Option<(Time, LocalBoxFuture<'static, ()>)>,
    hidden: Option<WorkerClock>,
}

impl Alarm {
    pub(super) async fn until(&mut self, deadline: Option<Time>) {
        let Some(deadline) = deadline else { return std::future::pending().await };
        if self.armed.as_ref().is_none_or(|(armed, _)| deadline < *armed) {
            let wait = deadline.since(now()).as_secs_f64() * 1000.0;
            // Saturating, and a millisecond late rather than early.
            let timer = self.wait(wait.ceil() as u32);
            self.armed = Some((deadline, timer));
        }
        if let Some((_, timer)) = &mut self.armed {
            timer.await;
        }
        self.armed = None;
    }

    fn wait(&mut self, milliseconds: u32) -> LocalBoxFuture<'static, ()> {
        let own = TimeoutFuture::new(milliseconds);
        if !is_hidden() {
            return own.boxed_local();
        }
        if self.hidden.is_none() {
            self.hidden = WorkerClock::start();
        }
        match &mut self.hidden {
            Some(clock) => select(own, clock.wait(milliseconds)).map(drop).boxed_local(),
            None => own.boxed_local(),
        }
    }
}

fn is_hidden() -> bool {
    web_sys::window().and_then(|window| window.document()).is_some_and(|document| document.hidden())
}

/// The wait that is waited for: its number, and who waits.
type Waiting = Rc<RefCell<Option<(u32, oneshot::Sender<()>)>>>;

/// A worker that waits. It lives as long as the page once it was needed.
struct WorkerClock {
    worker: Worker,
    waiting: Waiting,
    number: u32,
    _heard: Closure<dyn FnMut(MessageEvent)>,
}

impl WorkerClock {
    /// None if the browser starts no worker.
    fn start() -> Option<Self> {
        let worker = Worker::new(SCRIPT).ok()?;
        let waiting = Waiting::default();
        let heard = {
            let waiting = Rc::clone(&waiting);
            Closure::new(move |event: MessageEvent| {
                let number = event.data().as_f64();
                let asked = waiting.borrow_mut().take_if(|(asked, _)| number == Some(f64::from(*asked)));
                if let Some((_, waits)) = asked {
                    // Whoever waited may have been given a nearer deadline meanwhile.
                    let _ = waits.send(());
                }
            })
        };
        worker.set_onmessage(Some(heard.as_ref().unchecked_ref()));
        Some(Self { worker, waiting, number: 0, _heard: heard })
    }

    /// Waits for so long; the wait before is forgotten. For ever if the worker does not answer.
    fn wait(&mut self, milliseconds: u32) -> LocalBoxFuture<'static, ()> {
        self.number = self.number.wrapping_add(1);
        let (waits, waited) = oneshot::channel();
        self.waiting.replace(Some((self.number, waits)));
        let question = Array::of2(&self.number.into(), &milliseconds.into());
        let asked = self.worker.post_message(&question);
        async move {
            if asked.is_err() || waited.await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        .boxed_local()
    }
}
