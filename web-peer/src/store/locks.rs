//! Web Locks: what keeps two tabs out of one folder. A lock lasts as long as the worker that holds it, however it
//! ends.

use futures::channel::oneshot;
use futures::future::{Either, select};
use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::AbortSignal;

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub(super) struct HeldLock {
    release: Function,
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        // A promise's resolve function does not throw.
        drop(self.release.call0(&JsValue::UNDEFINED));
    }
}

/// How long to wait for a lock that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Not at all.
    None,
    /// So many milliseconds.
    Millis(u32),
}

/// Takes the lock with this name. `None` if somebody holds it, or if there are no locks here.
// Not through `web_sys::LockManager`, which wants a compiler flag for the whole build.
pub(super) async fn take(name: &str, patience: Patience) -> Option<HeldLock> {
    let navigator = Reflect::get(&js_sys::global(), &"navigator".into()).ok()?;
    let locks = Reflect::get(&navigator, &"locks".into()).ok().filter(JsValue::is_object)?;
    let request: Function = Reflect::get(&locks, &"request".into()).ok()?.dyn_into().ok()?;

    let options = Object::new();
    match patience {
        Patience::None => Reflect::set(&options, &"ifAvailable".into(), &JsValue::TRUE).ok()?,
        Patience::Millis(limit) => {
            Reflect::set(&options, &"signal".into(), &AbortSignal::timeout_with_u32(limit)).ok()?
        }
    };
    let mut release = None;
    let held = Promise::new(&mut |resolve, _| release = Some(resolve));
    let release = release?;

    let (granted, answer) = oneshot::channel();
    let mut granted = Some(granted);
    // Called with the lock, or with null where `ifAvailable` finds it held; the lock is kept until the promise that
    // it returns is resolved.
    let callback = Closure::<dyn FnMut(JsValue) -> JsValue>::new(move |lock: JsValue| {
        let got = lock.is_object();
        let heard = granted.take().is_some_and(|granted| granted.send(got).is_ok());
        if heard && got { held.clone().into() } else { JsValue::UNDEFINED }
    });
    let ended = request.call3(&locks, &JsValue::from_str(name), &options, callback.as_ref()).ok()?;
    let ended = JsFuture::from(ended.dyn_into::<Promise>().ok()?);
    // The request's promise settles first only when the callback was never called: the time was up.
    match select(answer, ended).await {
        Either::Left((Ok(true), _)) => Some(HeldLock { release }),
        _ => None,
    }
}
