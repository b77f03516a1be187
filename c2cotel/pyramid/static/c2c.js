// Comfort only: every page works without this file.
"use strict";

// A secret that came in the address stays neither there nor in the history.
const address = new URL(location.href);
if (address.searchParams.has("secret")) {
  address.searchParams.delete("secret");
  history.replaceState(null, "", address);
}

// <input data-filter="id of a table">: hides the rows that lack one of the words.
for (const input of document.querySelectorAll("[data-filter]")) {
  const table = document.getElementById(input.dataset.filter);
  if (!table) continue;
  const rows = [...table.tBodies[0].rows];
  const texts = rows.map((row) => (row.dataset.text || row.textContent).toLowerCase());
  const count = document.querySelector(`[data-filter-count="${input.dataset.filter}"]`);
  // What the server has filtered is all there is: only what is typed after that narrows it.
  const answered = input.value;
  input.addEventListener("input", () => {
    const words = input.value === answered ? [] : input.value.toLowerCase().split(/\s+/);
    let shown = 0;
    rows.forEach((row, index) => {
      row.hidden = !words.every((word) => texts[index].includes(word));
      shown += row.hidden ? 0 : 1;
    });
    if (count) count.textContent = words.length ? `${shown} of ${rows.length}` : "";
  });
}

// <time data-relative>: how long ago, below the moment.
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
function ago(seconds) {
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) || UNITS[3];
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  return words.format(-Math.trunc(seconds / size), unit);
}
for (const time of document.querySelectorAll("time[data-relative]")) {
  const moment = Date.parse(time.dateTime);
  if (Number.isNaN(moment)) continue;
  const text = document.createElement("span");
  text.className = "ago";
  time.append(text);
  const tell = () => { text.textContent = ago((Date.now() - moment) / 1000); };
  tell();
  setInterval(tell, 10000);
}

// <code data-copy>: a button that copies it, where the browser lets us.
if (navigator.clipboard) {
  for (const code of document.querySelectorAll("[data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn-quiet copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy ${code.textContent}`);
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    code.after(button);
  }
}

// <form data-confirm="Really?">
for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => {
    if (!window.confirm(form.dataset.confirm)) event.preventDefault();
  });
}
