// Keeps a page up to date while something on it is moving: what has a data-live name is fetched anew and replaced.
"use strict";

const LIVE_EVERY_MS = 5000;
// A page that takes long is asked for less often, so that watching it is never what keeps the gateway busy.
const LIVE_SHARE = 20;

async function renewLive() {
  if (document.hidden || !document.querySelector("[data-moving]")) return;
  const answer = await fetch(window.location.href);
  if (!answer.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const shown of document.querySelectorAll("[data-live]")) {
    const now = fresh.querySelector(`[data-live="${shown.dataset.live}"]`);
    if (now && !shown.contains(document.activeElement)) shown.replaceWith(now);
  }
  // What can be done with the row has changed with its end.
  if (!fresh.querySelector("[data-moving]") && isReadOnly()) window.location.reload();
}

function isReadOnly() {
  const form = document.querySelector(".change-form #content-main form");
  return form && !form.querySelector("input:not([type=hidden]), select, textarea") && !document.querySelector("#dialog");
}

async function keepLive() {
  const began = performance.now();
  // A gateway that does not answer is asked again the next time.
  await renewLive().catch(() => {});
  setTimeout(keepLive, Math.max(LIVE_EVERY_MS, LIVE_SHARE * (performance.now() - began)));
}

setTimeout(keepLive, LIVE_EVERY_MS);
