// The page's service worker. It does two things, and passes on touches of notifications:
//
// - `stream/<client>/…`: responses whose bytes a tab gives (web-peer/src/stream): it has the store, and asks its peers for what
//   is missing. One chunk at a time is asked for, when the browser has room for it.
// - The shell: the page's own files are kept, so that it opens without a network. A build is known by the digest of its
//   index.html; a new one is kept whole before the old one goes. Nothing else is touched: not `/ws`, not `/health`.
//
// Not in Rust: browsers end a service worker after seconds without work, and every start would compile WebAssembly before
// the first byte of a film. docs/ARCHITECTURE.md has the whole path.
"use strict";

const scope = new URL(registration.scope);
const CACHE = "enxame-shell-";
// What index.html does not name.
const UNNAMED = ["worker.js", "clock.js", "manifest.webmanifest", "icon-192.png", "icon-512.png", "icon-maskable-512.png"];
// Milliseconds between two looks at whether a tab is still there.
const LOOK = 1000;
// So often a page that was there when another was loaded is looked for before it counts as one that stays.
const LOOKS = 3;
// Earlier builds whose programs stay while tabs are open that may run them, at most.
const EARLIER = 3;

addEventListener("install", (event) => {
  // Without a shell it still streams, and the shell is kept at the next visit.
  event.waitUntil(keepShell().catch(() => {}).then(() => skipWaiting()));
});

addEventListener("activate", (event) => event.waitUntil(clients.claim()));

addEventListener("message", (event) => {
  // "awake" is only there to be heard.
  if (event.data !== "who") return;
  const answer = () => event.ports[0].postMessage(event.source.id);
  // A page that was loaded past the service worker (a forced reload) is taken in, too.
  event.waitUntil(clients.claim().then(answer, answer));
});

// On Android a notification is the service worker's (web-peer/src/ui/notifier.rs); touching it opens the page.
addEventListener("notificationclick", (event) => {
  event.notification.close();
  const open = (tabs) => (tabs.length > 0 ? tabs[0].focus() : clients.openWindow(scope));
  event.waitUntil(pages().then(open).catch(() => {}));
});

// The tabs with the page; not what a tab shows of a stream, in a frame or in a tab of its own.
async function pages(which) {
  const windows = await clients.matchAll({ type: "window", ...which });
  const stream = new URL("stream/", scope).href;
  return windows.filter((tab) => tab.frameType !== "nested" && !tab.url.startsWith(stream));
}

addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (url.origin !== scope.origin || !url.pathname.startsWith(scope.pathname)) return;
  const path = url.pathname.slice(scope.pathname.length);
  if (path.startsWith("stream/")) event.respondWith(stream(request, path));
  else if (request.method !== "GET") return;
  else if (path === "" || path === "index.html") event.respondWith(index(event));
  else if (isHashed(path)) event.respondWith(immutable(request));
  else if (UNNAMED.includes(path)) event.respondWith(newest(request));
});

// ---- Streams

async function stream(request, path) {
  const [, client, ...rest] = path.split("/");
  if (request.method !== "GET" && request.method !== "HEAD") return new Response(null, { status: 405 });
  const page = await clients.get(client).catch(() => undefined);
  if (!page) return gone();
  const { port1: port, port2 } = new MessageChannel();
  const answers = listen(port, client);
  page.postMessage({ path: rest.join("/"), range: request.headers.get("range") }, [port2]);
  let head;
  try {
    head = await answers.next();
  } catch {
    return gone();
  }
  if (request.method === "HEAD" || head.status === 416) {
    stop(port);
    return new Response(null, head);
  }
  const body = new ReadableStream(
    {
      async pull(controller) {
        port.postMessage("pull");
        try {
          const chunk = await answers.next();
          if (chunk !== null) return controller.enqueue(new Uint8Array(chunk));
          controller.close();
        } catch (error) {
          controller.error(error);
        }
        port.close();
      },
      cancel: () => stop(port),
    },
    // Nothing is asked for before it is wanted.
    { highWaterMark: 0 },
  );
  return new Response(body, head);
}

function stop(port) {
  port.postMessage("cancel");
  port.close();
}

// What comes through a port, one by one. Fails when the tab breaks off, or is no more, which no port tells.
function listen(port, client) {
  let waiting = null;
  let broken = null;
  port.onmessage = ({ data }) => {
    if (data === "gone") broken = new Error("the tab broke off");
    if (broken) waiting?.reject(broken);
    else waiting?.resolve(data);
  };
  const next = () =>
    new Promise((resolve, reject) => {
      if (broken) return reject(broken);
      const look = setInterval(async () => {
        if (!(await clients.get(client))) waiting?.reject(new Error("the tab is gone"));
      }, LOOK);
      const settle = (how) => (value) => {
        clearInterval(look);
        waiting = null;
        how(value);
      };
      waiting = { resolve: settle(resolve), reject: settle(reject) };
    });
  return { next };
}

function gone() {
  const headers = { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" };
  return new Response("The tab that had this is closed, or has it no more.\n", { status: 404, headers });
}

// ---- The shell

// As Trunk names files by their content, without the zeros that a digest may begin with: they never change.
function isHashed(path) {
  return /-[0-9a-f]{12,16}(_bg)?\.[a-z0-9.]+$/.test(path);
}

// From the network whenever there is one: nobody is kept on an old version.
async function index(event) {
  try {
    const response = await fetch(event.request);
    if (response.ok) event.waitUntil(keepShell(response.clone(), event.resultingClientId).catch(() => {}));
    return response;
  } catch (error) {
    return kept(scope.href, error);
  }
}

async function newest(request) {
  try {
    return await fetch(request);
  } catch (error) {
    return kept(request.url, error);
  }
}

async function immutable(request) {
  return (await caches.match(request, { ignoreVary: true })) ?? fetch(request);
}

async function kept(url, error) {
  const found = await caches.match(url, { ignoreVary: true });
  if (!found) throw error;
  return found;
}

// The build that was last asked for.
let latest = null;

// Keeps the build of this index.html, and lets go of all others. Its own place in the cache is written last, so that a build
// that is kept is kept whole. While other tabs are open than the one that is `loading`, the programs of earlier builds stay: a tab
// starts workers when it first needs them, and the server may have no other build than the latest by then.
async function keepShell(response, loading) {
  response ??= await fetch(scope.href, { cache: "no-cache" });
  if (!response.ok || new URL(response.url).origin !== scope.origin) return;
  const html = await response.text();
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(html));
  const hex = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const name = (latest = CACHE + hex.slice(0, 16));
  const cache = await caches.open(name);
  if (!(await cache.match(scope.href))) {
    const named = [...html.matchAll(/(?:href|src|data-js|data-wasm)="([^"#]+)"/g)].map(([, url]) => new URL(url, scope));
    const files = named.filter((url) => url.origin === scope.origin && isHashed(url.pathname));
    const unnamed = UNNAMED.map((path) => new Request(new URL(path, scope), { cache: "no-cache" }));
    await cache.addAll([...new Set(files.map((url) => url.href)), ...unnamed]);
    const { status, headers } = response;
    await cache.put(scope.href, new Response(html, { status, headers: plain(headers) }));
  }
  const spared = (await isOpenElsewhere(loading)) ? EARLIER : 0;
  // Another came meanwhile: it is no earlier one, and lets go of this one.
  if (latest !== name) return;
  const others = (await caches.keys()).filter((other) => other.startsWith(CACHE) && other !== name);
  const gone = others.splice(0, Math.max(0, others.length - spared));
  await Promise.all([...gone.map((other) => caches.delete(other)), ...others.map(keepPrograms)]);
}

// Whether the page is open in another tab than the one that is `loading` (its id, if one is). That one may not be listed yet, and
// the page whose place it takes (a reload) may still be: it goes once the new one is there, and today's browsers do not say which
// it is. A tab that is spared for nothing costs room until the next time; one that is overlooked could start no worker any more.
async function isOpenElsewhere(loading) {
  // Answers when it is there, or never will be.
  if (loading) await clients.get(loading);
  for (let looks = 1; ; looks++) {
    const others = (await pages({ includeUncontrolled: true })).filter((tab) => tab.id !== loading);
    if (others.length === 0) return false;
    if (!loading || looks === LOOKS) return true;
    await new Promise((resolve) => setTimeout(resolve, LOOK));
  }
}

// What is left of an earlier build opens no page.
async function keepPrograms(name) {
  const cache = await caches.open(name);
  await Promise.all([scope.href, ...UNNAMED.map((path) => new URL(path, scope))].map((url) => cache.delete(url, { ignoreVary: true })));
}

// The text is kept, not the form in which it was sent.
function plain(headers) {
  const kept = new Headers(headers);
  ["content-encoding", "content-length", "etag", "vary"].forEach((name) => kept.delete(name));
  return kept;
}
