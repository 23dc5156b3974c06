// A dedicated worker: runs the page's own program, which the page has loaded and compiled already and sends as the first message
// (web-peer/src/dedicated.rs). What the program does here is said by the worker's name.
"use strict";

const run = async ({ data: [script, module] }) => {
  try {
    const { default: start } = await import(script);
    await start({ module_or_path: module });
  } catch (error) {
    // As the program itself says its last words.
    postMessage([0, String(error)]);
  }
};
addEventListener("message", run, { once: true });
