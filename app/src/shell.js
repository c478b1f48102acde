// Runs before the application: reports errors of the page to the server's log, and shows a notice
// when the page has stopped.
document.documentElement.classList.add("js");
document.documentElement.dataset.drawn = location.pathname + location.search;
let left = 5;
const report = (kind, text) => {
  if (left-- <= 0) return;
  const body = JSON.stringify({ kind, text: String(text).slice(0, 2000), page: location.pathname, session: localStorage["belvedere-session"] });
  navigator.sendBeacon(`${document.documentElement.dataset.base}/api/v1/reports`, new Blob([body], { type: "application/json" }));
};
const stopped = () => {
  if (document.getElementById("stopped")) return;
  const note = document.createElement("div");
  note.id = "stopped";
  note.className = "banner warn";
  note.setAttribute("role", "alert");
  note.append("This page has stopped working and is no longer updated. ");
  const again = document.createElement("a");
  again.href = location.href;
  again.className = "btn small";
  again.rel = "external";
  again.textContent = "Reload page";
  note.append(again);
  document.body.prepend(note);
};
const wrong = (kind, error, text) => {
  report(kind, text);
  if (error instanceof WebAssembly.RuntimeError) stopped();
};
addEventListener("error", (event) => wrong("error", event.error, `${event.message} (${event.filename}:${event.lineno})`));
addEventListener("unhandledrejection", (event) => wrong("rejection", event.reason, event.reason));
const say = console.error;
console.error = (...words) => {
  say(...words);
  report("console", words.join(" "));
};
// A form shows the fields that apply to its choice.
const shape = () => {
  for (const form of document.querySelectorAll("form[data-choice]")) {
    const chosen = form.elements[form.dataset.choice].value;
    for (const field of form.querySelectorAll("[data-of]")) field.hidden = !field.dataset.of.split(" ").includes(chosen);
  }
};
for (const moment of ["DOMContentLoaded", "change", "shape"]) document.addEventListener(moment, shape);
// Notices keep away from the last click, as the next one is often nearby.
addEventListener("pointerdown", (event) => {
  if (event.target.closest?.(".notices")) return;
  const low = event.clientY > innerHeight / 2;
  document.documentElement.classList.toggle("notices-above", low);
}, true);
// A playing replay loads its next step.
addEventListener("DOMContentLoaded", () => {
  const next = document.querySelector("[data-play]")?.dataset.play;
  if (next) setTimeout(() => location.replace(next), 1000);
});
