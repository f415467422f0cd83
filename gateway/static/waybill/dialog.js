// A dialog that has opened has the keyboard: in its first field, else on its button.
"use strict";

document.addEventListener("htmx:afterSettle", (event) => {
  const dialog = document.querySelector("#modal-content #dialog");
  if (!dialog || !event.target.closest("#modal-content")) return;
  const first = dialog.querySelector("input:not([type=hidden]), select, textarea") || dialog.querySelector("button");
  // It is shown a moment after it has come.
  setTimeout(() => first?.focus(), 100);
});
