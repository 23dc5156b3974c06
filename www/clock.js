// Waits for the page while it is hidden: browsers let a hidden page's timers wait for the next full second or minute, but not
// those of its workers. Asked with a number and milliseconds, it sends the number back.
"use strict";

addEventListener("message", ({ data: [number, milliseconds] }) => setTimeout(() => postMessage(number), milliseconds));
