// Times are those of the viewer's own zone, with UTC on hover. The server, which does not know
// the zone, writes UTC, and so does a page without scripts.
const local = (at) => new Date(at - new Date(at).getTimezoneOffset() * 60000).toISOString().replace("T", " ");
class LocalTime extends HTMLElement {
  static observedAttributes = ["data-at"];
  connectedCallback() {
    this.show();
    const list = this.closest("ol.timeline");
    if (list && !unsorted.has(list)) {
      unsorted.add(list);
      queueMicrotask(() => sort(list));
    }
  }
  attributeChangedCallback() {
    if (this.isConnected) this.show();
  }
  show() {
    const at = Number(this.dataset.at);
    // The text itself stays: the program knows it.
    const text = this.firstChild ?? this.appendChild(new Text());
    text.data = local(at).slice(...this.dataset.cut.split("-"));
    this.title = `${new Date(at).toISOString().slice(0, 19).replace("T", " ")} UTC`;
  }
}
// Once the page has been read, as an element's text comes after the element.
document.addEventListener("DOMContentLoaded", () => customElements.define("local-time", LocalTime));
// The days of a timeline begin at the viewer's midnight.
const unsorted = new Set();
const sort = (list) => {
  unsorted.delete(list);
  list.querySelectorAll(":scope > .day").forEach((day) => day.remove());
  let last;
  for (const line of [...list.children]) {
    const day = local(Number(line.querySelector("local-time").dataset.at)).slice(0, 10);
    if (day === last) continue;
    last = day;
    const heading = document.createElement("li");
    heading.className = "day";
    heading.append(document.createElement("h2"));
    heading.firstChild.textContent = day;
    line.before(heading);
  }
};
// A field for a moment shows and takes the viewer's time; UTC is what is sent.
const moments = () => {
  for (const field of document.querySelectorAll("input[type=datetime-local][data-at]")) {
    if (field.dataset.at) field.setAttribute("value", local(Number(field.dataset.at)).slice(0, 16).replace(" ", "T"));
  }
};
for (const moment of ["DOMContentLoaded", "shape"]) document.addEventListener(moment, moments);
addEventListener("formdata", (event) => {
  for (const field of event.target.querySelectorAll("input[type=datetime-local][data-at]")) {
    if (!field.value) continue;
    // What was not changed is the same moment, also in an hour that the clock has twice.
    const at = field.value === field.getAttribute("value") ? Number(field.dataset.at) : new Date(field.value);
    event.formData.set(field.name, new Date(at).toISOString().slice(0, 16));
  }
});
