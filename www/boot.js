// Says so in plain words when the program cannot be loaded. Everything else is in web-peer.
(() => {
  const failed = () => {
    const wait = document.querySelector(".boot-wait");
    const sentence = document.querySelector(".boot-failed");
    if (wait) wait.hidden = true;
    if (sentence) sentence.hidden = false;
  };
  const stop = () => {
    removeEventListener("error", failed, true);
    removeEventListener("unhandledrejection", failed);
  };
  // In the capture phase, so that a script that cannot be fetched is seen too.
  addEventListener("error", failed, true);
  addEventListener("unhandledrejection", failed);
  addEventListener("TrunkApplicationStarted", stop, { once: true });
  if (typeof WebAssembly !== "object") addEventListener("DOMContentLoaded", failed);
})();
