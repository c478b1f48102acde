// A screen over the protocol of VNC (noVNC).
import RFB from "@novnc/novnc";
import type { Face } from "./console.ts";

/** Keys by their names in X11 (keysymdef.h). */
const KEYSYMS: Record<string, number> = {
  BackSpace: 0xff08, Tab: 0xff09, Return: 0xff0d, Escape: 0xff1b, Print: 0xff61, Delete: 0xffff,
  Shift_L: 0xffe1, Control_L: 0xffe3, Alt_L: 0xffe9, F1: 0xffbe, F2: 0xffbf, F7: 0xffc4,
};
/** What is typed with Shift on the keyboard that machines have unless told otherwise. */
const SHIFTED = /[A-Z~!@#$%^&*()_+{}|:"<>?]/;
/** Between two keys, in milliseconds; a machine forgets what comes faster. */
const PAUSE = 15;

export function make(place: HTMLElement, label: string): Face {
  let screen: RFB | undefined;
  const press = (name: string, down: boolean) => screen?.sendKey(KEYSYMS[name], null, down);
  return {
    attach(socket) {
      screen?.disconnect();
      place.replaceChildren();
      const next = (screen = new RFB(place, socket, { shared: true }));
      next.addEventListener("disconnect", () => {
        if (screen === next) screen = undefined;
      });
      screen.scaleViewport = true;
      screen.background = "transparent";
      const canvas = place.querySelector("canvas");
      canvas?.setAttribute("role", "img");
      canvas?.setAttribute("aria-label", label);
      screen.addEventListener("connect", () => screen?.focus());
    },
    keys(names) {
      names.forEach((name) => press(name, true));
      names.toReversed().forEach((name) => press(name, false));
    },
    async type(text) {
      for (const letter of text.replaceAll("\r\n", "\n")) {
        const sign = keysym(letter);
        const shift = SHIFTED.test(letter);
        if (shift) press("Shift_L", true);
        screen?.sendKey(sign, null);
        if (shift) press("Shift_L", false);
        await new Promise((done) => setTimeout(done, PAUSE));
      }
    },
    async save() {
      const canvas = place.querySelector("canvas");
      const blob = await new Promise<Blob | null>((done) => (canvas ? canvas.toBlob(done, "image/png") : done(null)));
      return { blob: blob ?? new Blob(), extension: "png" };
    },
    live: () => {},
    // What noVNC takes for a window that is left.
    release: () => window.dispatchEvent(new Event("blur")),
    focus: () => screen?.focus(),
    close: () => screen?.disconnect(),
  };
}

/** A letter as X11 numbers it: Latin-1 as it is, the rest of Unicode above 0x01000000. */
function keysym(letter: string): number {
  const point = letter.codePointAt(0) ?? 0;
  if (letter === "\n") return KEYSYMS.Return;
  if (letter === "\t") return KEYSYMS.Tab;
  return point < 0x100 ? point : 0x0100_0000 | point;
}
