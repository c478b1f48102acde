// Times are shown in the viewer's time zone, with UTC on hover. The server does not know the zone
// and writes UTC, as do pages without JavaScript.
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
    // Keep the text node: the program holds a reference to it.
    const text = this.firstChild ?? this.appendChild(new Text());
    text.data = local(at).slice(...this.dataset.cut.split("-"));
    this.title = `${new Date(at).toISOString().slice(0, 19).replace("T", " ")} UTC`;
  }
}
// After parsing, because an element's text follows its start tag.
document.addEventListener("DOMContentLoaded", () => customElements.define("local-time", LocalTime));
// The days of a timeline start at the viewer's midnight.
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
// A date and time field shows and takes the viewer's time, and sends UTC.
const moments = () => {
  for (const field of document.querySelectorAll("input[type=datetime-local][data-at]")) {
    if (field.dataset.at) field.setAttribute("value", local(Number(field.dataset.at)).slice(0, 16).replace(" ", "T"));
  }
};
for (const moment of ["DOMContentLoaded", "shape"]) document.addEventListener(moment, moments);
addEventListener("formdata", (event) => {
  for (const field of event.target.querySelectorAll("input[type=datetime-local][data-at]")) {
    if (!field.value) continue;
    // An unchanged value is the same moment, even in an hour that a clock change repeats.
    const at = field.value === field.getAttribute("value") ? Number(field.dataset.at) : new Date(field.value);
    event.formData.set(field.name, new Date(at).toISOString().slice(0, 16));
  }
});
