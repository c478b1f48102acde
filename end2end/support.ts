// Helpers of the specs: a server per test, rows and buttons by name, and a page fixture that fails the
// test on console errors.
import { type ChildProcess, spawn, execFileSync, execFile } from "node:child_process";
import { get as httpGet } from "node:http";
import { get as httpsGet } from "node:https";
import { promisify } from "node:util";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { test as base, expect, type Locator, type Page } from "@playwright/test";

const here = dirname(fileURLToPath(import.meta.url));
const binary = process.env.BELVEDERE ?? join(here, "../target/debug/belvedere");
export const site = process.env.LEPTOS_SITE_ROOT ?? join(here, "../target/site");

/** A directory that is removed when the tests end. */
function ownFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "bv-data-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The password of all accounts created by tests. */
export const password = "correct horse battery";

/** A server for one test. */
export class Server {
  url = "";
  /** What it has printed to stderr. */
  said = "";
  private process?: ChildProcess;
  private readonly args: string[];
  constructor(args: string[], private readonly port = 0, private readonly folder = site) {
    // A journal of its own, so that no test writes into the user's.
    const kept = args.includes("--data") ? args : [...args, "--data", ownFolder()];
    // With --connect, sign-in is required; tests about other things turn it off.
    const closed = args.includes("--connect") && !args.includes("--auth");
    this.args = ["--storage-root", tmpdir(), ...(closed ? ["--auth", "off"] : []), ...kept];
  }

  async start(): Promise<this> {
    const listen = this.args.includes("--listen") ? [] : ["--listen", `127.0.0.1:${this.port}`];
    this.process = spawn(binary, ["serve", ...listen, ...this.args], {
      env: { ...process.env, LEPTOS_SITE_ROOT: this.folder, BELVEDERE_LOG: "warn" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.process.stderr!.on("data", (part) => {
      this.said += part;
      // The first-start message is expected, so it is not shown.
      process.stderr.write(String(part).replace(/^belvedere: no account yet.*\n/m, ""));
    });
    const gone = new Promise<never>((_, reject) => {
      this.process!.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
    });
    const ready = new Promise<string>((resolve) => {
      let text = "";
      this.process!.stdout!.on("data", (part) => {
        text += part;
        const line = /belvedere is ready at (http\S+)/.exec(text);
        if (line) resolve(line[1]);
      });
    });
    this.url = await Promise.race([ready, gone]);
    await expect.poll(() => this.readiness()).toBe(200);
    return this;
  }

  /** The status of /readyz, or 0 without a response; self-signed certificates are accepted. */
  private readiness(): Promise<number> {
    return new Promise((resolve) => {
      const get = this.url.startsWith("https:") ? httpsGet : httpGet;
      const asked = get(`${this.url}/readyz`, { rejectUnauthorized: false }, (answer) => {
        answer.resume();
        resolve(answer.statusCode!);
      });
      asked.on("error", () => resolve(0));
    });
  }

  get pid(): number {
    return this.process!.pid!;
  }

  /** Stops the server and waits until it has exited. */
  async stop(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const process = this.process;
    if (!process || process.exitCode !== null || process.signalCode !== null) return;
    process.removeAllListeners("exit");
    const gone = new Promise((resolve) => process.once("exit", resolve));
    process.kill(signal);
    await gone;
  }

  /** Starts the server again at the same address. */
  async again(): Promise<Server> {
    return new Server(this.args, Number(new URL(this.url).port), this.folder).start();
  }

  async inventory(): Promise<any> {
    return (await fetch(`${this.url}/api/v1/inventory`)).json();
  }

  /** Runs another subcommand on this server's data directory. */
  verb(words: string[], input = ""): string {
    const folder = this.args[this.args.indexOf("--data") + 1];
    return execFileSync(binary, [...words, "--data", folder], { input, encoding: "utf8", stdio: ["pipe", "pipe", "inherit"] }).trim();
  }

  /** Creates an account, and waits until the server requires sign-in. */
  async account(name: string, role: string, ...scope: string[]): Promise<void> {
    this.verb(["user", "add", name, "--role", role, ...scope, "--password-stdin"], password);
    await expect.poll(async () => (await fetch(`${this.url}/api/v1/inventory`)).status).toBe(401);
  }

  /** Sends a command as an API client. */
  async command(host: string, name: string, command: object): Promise<Response> {
    const domain = (await this.inventory()).hosts[host].domains.find((domain: any) => domain.name === name);
    const body = JSON.stringify({ requestId: crypto.randomUUID(), host, target: domain.id, command });
    return fetch(`${this.url}/api/v1/commands`, { method: "POST", headers: { "content-type": "application/json" }, body });
  }
}

/** A real libvirtd for one test. */
export class Daemon {
  readonly folder = mkdtempSync(join(tmpdir(), "bv-"));
  uri = "";
  private run(...args: string[]): string {
    return execFileSync(join(here, "host/daemon.sh"), args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] }).trim();
  }
  start(): this {
    this.uri = this.run("start", this.folder).split("\n").pop()!;
    return this;
  }
  guest(name: string, devices = ""): void {
    this.run("guest", this.folder, name, ...(devices ? [devices] : []));
  }
  pid(): number { return Number(this.run("pid", this.folder)); }
  kill(): void { this.run("kill", this.folder); }
  restart(): void { this.run("restart", this.folder); }
  freeze(): void { this.run("freeze", this.folder); }
  thaw(): void { this.run("thaw", this.folder); }
  stop(): void {
    this.run("stop", this.folder);
    rmSync(this.folder, { recursive: true, force: true });
  }
  /** Runs virsh on the daemon. */
  virsh(...args: string[]): string {
    return execFileSync("virsh", ["-q", "-c", this.uri, ...args], { encoding: "utf8" }).trim();
  }
  async virshLater(...args: string[]): Promise<string> {
    return (await promisify(execFile)("virsh", ["-q", "-c", this.uri, ...args], { timeout: 20_000 })).stdout.trim();
  }
}

/** Runs some commands on demo machines, and waits until each has ended. */
export async function busy(server: Server): Promise<void> {
  for (const [name, kind] of [["web-01", "pause"], ["web-01", "resume"], ["dns-2", "start"], ["web-02", "start"]]) {
    const answer = await server.command("demo", name, { kind });
    if (answer.status !== 202) continue;
    const { taskId } = await answer.json();
    await expect.poll(async () => (await (await fetch(`${server.url}/api/v1/tasks/${taskId}`)).json()).outcome).toBe("succeeded");
  }
}

/** Writes a node file for libvirt's test driver and returns its URI. */
export function manyMachines(count: number, folder: string, stopped = false): string {
  const machine = (n: number) => {
    const name = `vm-${String(n).padStart(4, "0")}`;
    const uuid = `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`;
    const mac = `52:54:00:00:${(n >> 8).toString(16).padStart(2, "0")}:${(n & 255).toString(16).padStart(2, "0")}`;
    return `<domain type="test" xmlns:test="http://libvirt.org/schemas/domain/test/1.0"><name>${name}</name><uuid>${uuid}</uuid>
<title>Machine ${n}</title><memory unit="MiB">${512 << (n % 5)}</memory><vcpu>${1 + (n % 8)}</vcpu><os><type arch="x86_64">hvm</type></os>
<devices><disk type="file" device="disk"><source file="/var/lib/libvirt/images/${name}.qcow2"/><target dev="vda" bus="virtio"/></disk>
<interface type="network"><mac address="${mac}"/><source network="default"/></interface></devices>
<test:runstate>${stopped || n % 3 === 0 ? 5 : 1}</test:runstate></domain>`;
  };
  const machines = Array.from({ length: count }, (_, n) => machine(n));
  const file = join(folder, `node-${count}.xml`);
  writeFileSync(file, `<node>${machines.join("\n")}</node>`);
  return `test://${file}`;
}

type Fixtures = { script: boolean; demo: Server; complaints: string[] };

export const test = base.extend<Fixtures>({
  script: async ({ javaScriptEnabled }, use) => use(javaScriptEnabled !== false),
  demo: async ({}, use) => {
    const server = await new Server(["--demo"]).start();
    await use(server);
    await server.stop();
  },
  complaints: [
    async ({ page }, use) => {
      const complaints: string[] = [];
      watch(page, complaints);
      await use(complaints);
      expect(complaints, "the page logged errors to the console").toEqual([]);
    },
    { auto: true },
  ],
});

/** Collects console errors of a page, except those of an unreachable server (a part being fetched then is fetched again on demand) and a hint about noVNC, which reads its canvas whenever a booting machine changes its screen size. */
export function watch(page: Page, complaints: string[]): void {
  const expected = /net::ERR_CONNECTION_(REFUSED|RESET|CLOSED)|net::ERR_SOCKET_NOT_CONNECTED|net::ERR_INCOMPLETE_CHUNKED|net::ERR_EMPTY_RESPONSE|Canvas2D: Multiple readback operations|^TypeError: Failed to fetch\s+at \S*\/__wasm_split|status of (40[1349]|42[29])/;
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !expected.test(message.text())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
}

export { expect };

export const list = (page: Page): Locator => page.getByRole("table", { name: "Virtual machines" });

/** The row of a machine, found by its row header. */
export function row(page: Page, name: string): Locator {
  return list(page).getByRole("row").filter({ has: page.getByRole("rowheader").getByRole("link", { name, exact: true }) });
}

/** Expects the list to show a machine in a state. */
export async function expectState(page: Page, name: string, state: string, timeout?: number): Promise<void> {
  await expect(row(page, name).getByText(state, { exact: true })).toBeVisible({ timeout });
}

/** Opens the list and, with JavaScript, waits until the page is live. */
export async function openList(page: Page, server: Server, query = ""): Promise<void> {
  await page.goto(`${server.url}/vms${query}`);
  await live(page);
}

export async function live(page: Page): Promise<void> {
  const scripted = await page.evaluate(() => true).catch(() => false);
  const hydrating = await page.locator("html.js").count();
  if (scripted && hydrating) await expect(page.getByRole("status")).toContainText("Live");
}

export const press = (within: Locator | Page, name: string): Promise<void> =>
  within.getByRole("button", { name, exact: true }).click();

/** Signs in. */
export async function logIn(page: Page, name: string, secret = password): Promise<void> {
  await page.getByLabel("Name").fill(name);
  await page.getByLabel("Password").fill(secret);
  await page.getByRole("button", { name: "Sign in" }).click();
}

/** Expects a form to be refused: beside its field or in a notice, and without JavaScript on a page or as a result. */
export async function refused(page: Page, script: boolean, why: RegExp): Promise<void> {
  const where = script
    ? page.locator("small.wrong").or(page.getByRole("region", { name: "Notices" }))
    : page.getByRole("alert").or(page.getByRole("list", { name: "Results" }));
  await expect(where.filter({ hasText: why }).first()).toBeVisible();
}
