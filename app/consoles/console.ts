// The element in which a console is shown: it asks for a ticket, opens the WebSocket, says how it
// is, and tries again for as long as the page wants it. What it looks like is the face's business.

/** What is drawn in the element. */
export interface Face {
  /** Takes over a socket that is being opened. */
  attach(socket: WebSocket): void;
  /** Presses keys together, named as X11 names them. */
  keys(names: string[]): void;
  /** Types a text, which may take its time. */
  type(text: string): Promise<void>;
  /** What it shows now, as a file. */
  save(): Promise<{ blob: Blob; extension: string }>;
  /** What follows is shown as it happens; what came before was shown earlier. */
  live(): void;
  /** Lets go of every key. */
  release(): void;
  focus(): void;
  close(): void;
}

/** What the server says beside the bytes. */
interface Said {
  live?: boolean;
  watching?: string[];
  ended?: string;
  fault?: string;
}

/** Longest pause between two attempts, in milliseconds. */
const LONGEST_PAUSE = 10_000;
/** A link that held so long was a good one, so the next pause is short. */
const GOOD = 10_000;
/** After these nobody tries again by themselves. */
const FINAL = ["signedOut", "notAllowed", "notFound", "unsupported", "invalid"];

class MachineConsole extends HTMLElement {
  #face?: Face;
  #socket?: WebSocket;
  #attempt = 0;
  #timer = 0;
  /** Since when it is connected; 0 while it is not. */
  #since = 0;
  /** What is said while nothing special happens. */
  #standing = "";
  #listeners = new AbortController();

  connectedCallback(): void {
    this.#listeners = new AbortController();
    const { signal } = this.#listeners;
    const card = this.#card;
    card.addEventListener("click", (event) => this.#clicked(event), { signal });
    card.addEventListener("submit", (event) => this.#submitted(event), { signal });
    // What a console swallows would be a trap for whoever has no mouse.
    card.addEventListener("keydown", (event) => this.#leave(event), { signal, capture: true });
    void this.#begin();
  }

  disconnectedCallback(): void {
    clearTimeout(this.#timer);
    this.#listeners.abort();
    this.#socket?.close();
    this.#face?.close();
    this.#face = undefined;
  }

  get #card(): HTMLElement {
    return this.closest("section") ?? this;
  }

  async #begin(): Promise<void> {
    const place = document.createElement("div");
    place.className = "place";
    const { kind, label } = this.dataset;
    const face = kind === "screen" ? await import("./screen.ts") : await import("./line.ts");
    if (!this.isConnected) return;
    // What is written for pages without scripts stays where the page drew it, unseen.
    this.classList.add("on");
    this.append(place);
    this.#face = face.make(place, label ?? "");
    await this.#open();
  }

  /** One attempt. */
  async #open(): Promise<void> {
    this.#say("Connecting…");
    const { api = "", host, target, console } = this.dataset;
    let protocols: string[];
    try {
      const body = JSON.stringify({ host, target, console });
      const answer = await fetch(api, { method: "POST", headers: { "content-type": "application/json" }, body });
      const said = await answer.json();
      if (!answer.ok) return this.#ended({ ended: [said.reason, said.next].filter(Boolean).join(". ") + ".", fault: said.fault });
      protocols = said.protocols;
    } catch {
      return this.#ended({ ended: "The Belvedere server does not respond." });
    }
    if (!this.isConnected) return;
    const address = new URL(api, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = (this.#socket = new WebSocket(address, protocols));
    let end: Said = { ended: "The connection to Belvedere was lost." };
    // Texts are the server's own words, so whoever shows the bytes does not see them.
    socket.addEventListener("message", (event) => {
      if (typeof event.data !== "string") return;
      event.stopImmediatePropagation();
      const said: Said = JSON.parse(event.data);
      if (said.live) {
        this.#ready(true);
        this.#face?.live();
      }
      if (said.watching) this.#watched(said.watching);
      if (said.ended) end = said;
    });
    socket.addEventListener("close", () => this.isConnected && this.#ended(end));
    this.#face?.attach(socket);
  }

  #ready(is: boolean): void {
    this.#since = is ? performance.now() : 0;
    for (const button of this.#card.querySelectorAll<HTMLButtonElement>("button[data-press]")) button.disabled = !is;
  }

  #watched(names: string[]): void {
    const counts = new Map<string, number>();
    for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
    const words = [...counts].map(([name, count]) => (count > 1 ? `${name} (${count})` : name));
    this.#standing = names.length > 1 ? `Connected. Also viewing: ${words.join(", ")}` : "Connected";
    this.#say(this.#standing);
  }

  #ended(said: Said): void {
    if (this.#since && performance.now() - this.#since > GOOD) this.#attempt = 0;
    this.#ready(false);
    if (FINAL.includes(said.fault ?? "")) return this.#say(said.ended ?? "");
    const pause = Math.min(1_000 * 2 ** this.#attempt++, LONGEST_PAUSE);
    this.#say(`${said.ended} Retrying in ${pause / 1_000} s.`);
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => void this.#open(), pause);
  }

  #say(text: string): void {
    const state = this.#card.querySelector("[data-state]");
    if (state) state.textContent = text;
  }

  #clicked(event: Event): void {
    const button = (event.target as Element).closest<HTMLElement>("button[data-press]");
    if (!button) return;
    button.closest("details")?.removeAttribute("open");
    switch (button.dataset.press) {
      case "keys":
        this.#face?.keys((button.dataset.keys ?? "").split(" "));
        return this.#face?.focus();
      case "full":
        return void this.#card.requestFullscreen().then(() => this.#face?.focus());
      case "save":
        return void this.#save();
    }
  }

  #submitted(event: Event): void {
    const form = event.target as HTMLFormElement;
    if (form.dataset.press !== "type") return;
    event.preventDefault();
    event.stopPropagation();
    form.closest("details")?.removeAttribute("open");
    void this.#type(form.elements.namedItem("text") as HTMLTextAreaElement);
  }

  async #type(field: HTMLTextAreaElement): Promise<void> {
    const text = field.value;
    if (!this.#since) return this.#say("Not sent: the console is not connected.");
    field.value = "";
    this.#face?.focus();
    this.#say(`Typing ${text.length} characters…`);
    await this.#face?.type(text);
    if (this.#since) this.#say(this.#standing);
  }

  async #save(): Promise<void> {
    if (!this.#face) return;
    const { blob, extension } = await this.#face.save();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${this.dataset.label ?? "console"}.${extension}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  #leave(event: KeyboardEvent): void {
    if (!(event.ctrlKey && event.altKey && event.key === "End")) return;
    event.preventDefault();
    event.stopPropagation();
    // That they are let go of is heard by what has the focus then.
    this.#face?.release();
    this.#card.querySelector<HTMLElement>("header summary")?.focus();
  }
}

customElements.define("machine-console", MachineConsole);
