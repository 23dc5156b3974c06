// Before the program: the theme, and plain words when the program cannot be loaded. Everything else is in web-peer.
(() => {
  // The user's choice of light or dark, before anything is drawn (web-peer/src/ui/theme.rs).
  try {
    const theme = localStorage.getItem("enxame.theme");
    if (theme === "light" || theme === "dark") {
      document.documentElement.dataset.theme = theme;
      // The browser's own bars, too.
      for (const meta of document.querySelectorAll("meta[name=theme-color]")) meta.media = meta.dataset.of === theme ? "all" : "not all";
    }
  } catch {
    // A browser that keeps nothing has no choice to keep.
  }
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
