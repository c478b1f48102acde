// Menus open above everything and within the window, so that no table clips them. Escape, a click
// elsewhere, another menu and a menu's own action close them.
const menus = () => [...document.querySelectorAll("details.menu[open]")];
const place = (menu) => {
  const sheet = menu.querySelector(":scope > :not(summary)");
  if (!sheet?.matches(":popover-open")) return;
  const by = menu.querySelector("summary").getBoundingClientRect();
  const width = document.documentElement.clientWidth;
  sheet.style.maxHeight = "";
  const below = innerHeight - by.bottom - 12;
  const above = by.top - 12;
  const down = sheet.offsetHeight <= below || below >= above;
  const height = Math.min(sheet.offsetHeight, Math.max(down ? below : above, 120));
  sheet.style.maxHeight = `${height}px`;
  sheet.style.left = `${Math.max(8, Math.min(by.right - sheet.offsetWidth, width - sheet.offsetWidth - 8))}px`;
  sheet.style.top = `${down ? by.bottom + 4 : Math.max(8, by.top - 4 - height)}px`;
};
const close = (menu, refocus) => {
  menu.open = false;
  if (refocus) menu.querySelector("summary").focus();
};
document.addEventListener("toggle", (event) => {
  const menu = event.target;
  const sheet = menu.matches?.("details.menu") && menu.querySelector(":scope > :not(summary)");
  if (!sheet) return;
  if (menu.open) {
    for (const other of menus()) if (other !== menu && !other.contains(menu)) close(other);
    sheet.popover = "manual";
    sheet.showPopover();
    place(menu);
    // What comes later needs room, too.
    menu.filled = new MutationObserver(() => place(menu));
    menu.filled.observe(sheet, { childList: true, subtree: true });
  } else {
    menu.filled?.disconnect();
    // Restore the server's markup, so that hydration finds no difference.
    if (sheet.matches(":popover-open")) sheet.hidePopover();
    sheet.removeAttribute("popover");
    sheet.removeAttribute("style");
  }
}, true);
addEventListener("pointerdown", (event) => {
  for (const menu of menus()) if (!menu.contains(event.target)) close(menu);
}, true);
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
  const open = menus().at(-1) ?? event.target.closest?.("details.edit[open]");
  if (!open) return;
  close(open, true);
  event.preventDefault();
  event.stopPropagation();
}, true);
const acted = (event) => {
  const button = event.type === "submit" ? event.submitter : event.target.closest?.("a, button");
  const menu = button?.closest("details.menu[open]");
  const stays = !menu || menu.matches(".drawer") || button.ariaDisabled === "true";
  // A form with fields closes its menu when its command is accepted.
  const fields = button?.form?.querySelector("input:not([type=hidden]), textarea, select");
  if (stays || (fields && menu.contains(button.form)) || (event.type === "click" && button.form)) return;
  close(menu, menu.contains(document.activeElement));
};
document.addEventListener("click", acted);
document.addEventListener("submit", acted);
for (const moment of ["resize", "scroll"]) addEventListener(moment, () => menus().forEach(place), true);
