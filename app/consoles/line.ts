// A serial line as a terminal (xterm.js).
import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";
import type { Face } from "./console.ts";

/** What a terminal says by itself when it is asked: where the cursor is, what it is, its colours. */
const ANSWER = /^\x1b(\[[?>]?[\d;]*[Rcn]|\[\?[\d;]+\$y|\]\d+;|P[01]\$r)/;

/** Bytes that are sent at once. */
const PART = 16 * 1024;

/** What keys send that a line knows no other name for. */
const SENT: Record<string, string> = { Tab: "\t", Return: "\r", Escape: "\x1b" };

export function make(place: HTMLElement, label: string): Face {
  const style = document.createElement("link");
  style.rel = "stylesheet";
  style.href = new URL("console.css", import.meta.url).href;
  document.head.append(style);
  const terminal = new Terminal({ cursorBlink: false, fontSize: 14, scrollback: 5_000, convertEol: false, ...look() });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  withNonce(() => terminal.open(place));
  terminal.textarea?.setAttribute("aria-label", label);
  let socket: WebSocket | undefined;
  // What was shown earlier may hold questions to the terminal, which were answered then.
  let earlier = true;
  const post = (bytes: Uint8Array<ArrayBuffer>) => {
    for (let at = 0; at < bytes.length && socket?.readyState === WebSocket.OPEN; at += PART) socket.send(bytes.slice(at, at + PART));
  };
  const send = (text: string) => post(new TextEncoder().encode(text));
  terminal.onData((text) => {
    if (!ANSWER.test(text)) return send(text);
    // The server lets one of those who look answer.
    if (!earlier && socket?.readyState === WebSocket.OPEN) socket.send(text);
  });
  terminal.onBinary((text) => !earlier && post(Uint8Array.from(text, (c) => c.charCodeAt(0))));
  const sizes = new ResizeObserver(() => fit.fit());
  sizes.observe(place);
  return {
    attach(next) {
      socket = next;
      earlier = true;
      socket.binaryType = "arraybuffer";
      // What it showed last comes again.
      socket.addEventListener("open", () => terminal.reset());
      socket.addEventListener("message", (event) => terminal.write(new Uint8Array(event.data)));
      terminal.focus();
    },
    keys: (names) => send(names.map((name) => SENT[name] ?? "").join("")),
    type: async (text) => send(text.replaceAll("\r\n", "\r").replaceAll("\n", "\r")),
    async save() {
      const { active } = terminal.buffer;
      const lines = Array.from({ length: active.length }, (_, at) => active.getLine(at)?.translateToString(true) ?? "");
      return { blob: new Blob([lines.join("\n").trimEnd() + "\n"], { type: "text/plain" }), extension: "txt" };
    },
    live: () => terminal.write("", () => (earlier = false)),
    release: () => {},
    focus: () => terminal.focus(),
    close() {
      sizes.disconnect();
      terminal.dispose();
      style.remove();
    },
  };
}

/** Colours and letters of the page. */
function look(): { fontFamily: string; theme: { background: string; foreground: string } } {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string) => style.getPropertyValue(name).trim();
  return { fontFamily: of("--mono"), theme: { background: of("--terminal"), foreground: of("--terminal-text") } };
}

/** The terminal writes its own style sheets, which the page's policy allows with its nonce only. */
function withNonce(open: () => void): void {
  const nonce = document.querySelector<HTMLElement>("script[nonce]")?.nonce ?? "";
  const make = document.createElement.bind(document);
  document.createElement = ((name: string, options?: ElementCreationOptions) => {
    const element = make(name, options);
    if (name === "style") element.nonce = nonce;
    return element;
  }) as typeof document.createElement;
  try {
    open();
  } finally {
    // The prototype's own is there again.
    delete (document as { createElement?: unknown }).createElement;
  }
}
