//! What the service worker keeps of builds, with tabs, a cache and a server of a few lines in place of the real ones: which tabs the
//! browser lists at which moment cannot be chosen otherwise.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, reason = "clippy does not see that these are tests")]

use js_sys::{Array, Function, Promise};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

const SCRIPT: &str = include_str!("../../www/service-worker.js");

/// Runs the script with a build "old" in the cache. `tabs`: the ids of the tabs that are listed, at each look, the last ever after.
/// `events`: what happens, all at once: "install", or the id of a tab that is being loaded. `server`: which build each of them gets.
/// Gives what is in the cache at the end, in the order in which it came.
const STAGE: &str = r#"
    const scope = location.origin + "/page/";
    const builds = new Map();
    const open = async (name) => {
        if (!builds.has(name)) builds.set(name, new Map());
        const kept = builds.get(name);
        const key = (of) => new URL(of.url ?? of, scope).pathname;
        return {
            match: async (of) => kept.get(key(of)),
            put: async (of, response) => void kept.set(key(of), response),
            addAll: async (all) => all.forEach((of) => kept.set(key(of), "fetched")),
            delete: async (of) => kept.delete(key(of)),
        };
    };
    const caches = { open, keys: async () => [...builds.keys()], delete: async (name) => builds.delete(name) };
    builds.set("enxame-shell-old", new Map(["/page/", "/page/worker.js", "/page/old-0123456789abcdef.js"].map((path) => [path, "old"])));

    const clients = {
        get: async () => undefined,
        matchAll: async () => {
            const listed = tabs.length > 1 ? tabs.shift() : tabs[0];
            return listed.map((id) => ({ id, frameType: "top-level", url: scope }));
        },
    };
    const answers = server.map((build) => {
        const text = async () => `<script data-js="${build}-0123456789abcdef.js"></script>`;
        const response = { ok: true, url: scope, status: 200, headers: new Headers(), text, clone: () => response };
        return response;
    });
    const fetch = async () => answers.shift();
    const setTimeout = (then) => queueMicrotask(then);
    const handlers = {};
    const addEventListener = (kind, handler) => (handlers[kind] = handler);
    new Function("registration", "caches", "clients", "fetch", "setTimeout", "addEventListener", "skipWaiting", script)(
        { scope }, caches, clients, fetch, setTimeout, addEventListener, () => {});

    const waiting = [];
    const happens = (event) => {
        const waitUntil = (what) => waiting.push(what);
        if (event === "install") return handlers.install({ waitUntil });
        const request = { url: scope, method: "GET" };
        handlers.fetch({ request, waitUntil, respondWith: waitUntil, resultingClientId: event });
    };
    return (async () => {
        events.forEach(happens);
        while (waiting.length > 0) await waiting.shift();
        const programs = (kept) => [...kept.keys()].filter((path) => path.includes("-0")).map((path) => path.slice(6, 9));
        const left = [...builds.values()].map((kept) => programs(kept) + (kept.has("/page/") ? " whole" : ""));
        return left.join(", ");
    })();"#;

/// What is left then; all of it is written in JSON.
async fn left(tabs: &str, events: &str, server: &str) -> String {
    let read = "[tabs, events, server] = [tabs, events, server].map((text) => JSON.parse(text));";
    let stage = Function::new_with_args("script, tabs, events, server", &format!("{read} {STAGE}"));
    let arguments = Array::of4(&SCRIPT.into(), &tabs.into(), &events.into(), &server.into());
    let left: Promise = stage.apply(&JsValue::NULL, &arguments).unwrap().unchecked_into();
    JsFuture::from(left).await.unwrap().as_string().unwrap()
}

const BOTH: &str = "old, new whole";
const NEW: &str = "new whole";

#[wasm_bindgen_test]
async fn the_programs_of_an_earlier_build_stay_for_a_tab_that_runs_them() {
    assert_eq!(left(r#"[["one", "loading"]]"#, r#"["loading"]"#, r#"["new"]"#).await, BOTH);
    // The one that is being loaded is not listed before it runs.
    assert_eq!(left(r#"[["one"]]"#, r#"["loading"]"#, r#"["new"]"#).await, BOTH);
    assert_eq!(left(r#"[["one"], ["one", "loading"]]"#, r#"["loading"]"#, r#"["new"]"#).await, BOTH);
    // Another service worker comes while the only tab runs what was kept before it.
    assert_eq!(left(r#"[["one"]]"#, r#"["install"]"#, r#"["new"]"#).await, BOTH);
}

#[wasm_bindgen_test]
async fn an_earlier_build_goes_when_no_other_tab_is_open() {
    assert_eq!(left("[[]]", r#"["loading"]"#, r#"["new"]"#).await, NEW);
    assert_eq!(left(r#"[["loading"]]"#, r#"["loading"]"#, r#"["new"]"#).await, NEW);
    assert_eq!(left("[[]]", r#"["install"]"#, r#"["new"]"#).await, NEW);
    // A tab that is loaded again, or was closed just now, is listed for a moment.
    assert_eq!(left(r#"[["before"], ["loading"]]"#, r#"["loading"]"#, r#"["new"]"#).await, NEW);
    assert_eq!(
        left(r#"[["before"], ["before", "loading"], ["loading"]]"#, r#"["loading"]"#, r#"["new"]"#).await,
        NEW
    );
}

#[wasm_bindgen_test]
async fn of_two_builds_that_come_at_once_the_later_stays() {
    let tabs = r#"[["first"], ["first", "second"]]"#;
    let left = left(tabs, r#"["first", "second"]"#, r#"["mid", "new"]"#).await;
    assert_eq!(left, "old, mid, new whole");
}
