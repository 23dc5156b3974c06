//! The page's end of a worker, with workers of a few lines in place of the real script.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, reason = "clippy does not see that these are tests")]

use js_sys::{Array, Uint8Array};
use wasm_bindgen::JsValue;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_peer::buffers::copied;
use web_peer::dedicated::{Dedicated, Message, Part, WorkerGone, part};
use web_sys::{Blob, Url};

wasm_bindgen_test_configure!(run_in_browser);

type Reply = Result<Message<u32, JsValue>, WorkerGone>;

/// A worker that runs this script.
fn worker(script: &str) -> Dedicated {
    let blob = Blob::new_with_str_sequence(&Array::of1(&script.into())).unwrap();
    Dedicated::start_script(&Url::create_object_url_with_blob(&blob).unwrap(), "test")
}

/// Answers a number below 127 with the next one. In postcard such a number is one byte.
const NEXT: &str = "onmessage = event => { const [id, value, ...parts] = event.data;
    postMessage([id, Uint8Array.of(value[0] + 1), ...parts]); };";

#[wasm_bindgen_test]
async fn what_is_asked_before_a_worker_is_ready_is_answered_in_order_when_it_is() {
    // It would lose messages that come before it is ready, as a page's worker would while its script loads.
    let worker = worker(&format!("setTimeout(() => {{ {NEXT} postMessage([0, 'ready']); }}, 50);"));
    let first = worker.request(&1u32, Vec::new());
    let second = worker.request(&2u32, vec![Part::copied(b"bytes")]);
    let first: Reply = first.await;
    let second: Reply = second.await;
    assert_eq!(first.unwrap().body, 2);
    let second = second.unwrap();
    assert_eq!(second.body, 3);
    assert_eq!(&copied(&part(&second.parts, 0).unwrap())[..], b"bytes");
    assert!(part::<Uint8Array>(&second.parts, 1).is_none());
}

#[wasm_bindgen_test]
async fn a_worker_that_dies_fails_everything_that_waits_and_everything_after() {
    let worker = worker("onmessage = () => postMessage([0, 'its last words']); postMessage([0, 'ready']);");
    let (first, second) = (worker.request(&1u32, Vec::new()), worker.request(&2u32, Vec::new()));
    let first: Reply = first.await;
    let second: Reply = second.await;
    let gone = first.unwrap_err();
    assert_eq!(gone.to_string(), "a background worker stopped: its last words");
    assert_eq!(second.unwrap_err(), gone);
    assert_eq!(worker.gone(), Some(gone.clone()));
    let after: Reply = worker.request(&3u32, Vec::new()).await;
    assert_eq!(after.unwrap_err(), gone);
}

#[wasm_bindgen_test]
async fn an_exception_in_a_worker_is_its_end_and_says_why() {
    let worker = worker("onmessage = () => { throw new Error('unreachable'); }; postMessage([0, 'ready']);");
    let reply: Reply = worker.request(&1u32, Vec::new()).await;
    assert!(reply.unwrap_err().to_string().contains("unreachable"));
}

#[wasm_bindgen_test]
async fn a_script_that_is_not_there_is_an_error_and_not_silence() {
    let worker = Dedicated::start_script("no-such-script.js", "test");
    let reply: Reply = worker.request(&1u32, Vec::new()).await;
    assert!(reply.is_err());
}

#[wasm_bindgen_test]
async fn an_answer_of_another_type_is_an_error_of_that_request_alone() {
    let worker = worker(
        "onmessage = event => postMessage([event.data[0], event.data[1][0] === 1 ? 'text' : Uint8Array.of(5)]);
        postMessage([0, 'ready']);",
    );
    let wrong: Reply = worker.request(&1u32, Vec::new()).await;
    let right: Reply = worker.request(&2u32, Vec::new()).await;
    assert!(wrong.is_err());
    assert_eq!(right.unwrap().body, 5);
}
