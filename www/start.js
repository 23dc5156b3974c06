// Starts the program (web-peer), whose files index.html names (Trunk.toml's `pattern_script`). A script of its own, since the
// page's security policy allows none inside the page.
const { js, wasm } = document.querySelector("[data-wasm]").dataset;
const { default: start } = await import(new URL(js, document.baseURI));
await start({ module_or_path: new URL(wasm, document.baseURI) });
dispatchEvent(new CustomEvent("TrunkApplicationStarted"));
