// What a user of the page sees: B1, B11, B15.
import { spawn } from "node:child_process";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { Daemon, expect, expectState, live, openList, press, row, Server, test } from "../end2end/support.ts";
import { now, report, rounds, timed } from "./measure.mts";

/** Records changes of a row's state cell, as [text, time]. */
const watchState = (element: Element): void => {
  const noted: [string, number][] = ((window as any).noted = []);
  const read = () => element.querySelector("[data-label=State]")?.textContent?.trim() ?? "";
  let last = read();
  new MutationObserver(() => {
    const text = read();
    if (text === last) return;
    noted.push([(last = text), performance.timeOrigin + performance.now()]);
    (window as any).told?.(text);
  }).observe(element, { childList: true, subtree: true, characterData: true });
};

test("B1 a change on the host reaches the page", async ({ page }) => {
  const daemon = new Daemon().start();
  daemon.guest("toggled");
  daemon.virsh("start", "toggled");
  const server = await new Server(["--connect", `bench=${daemon.uri}`]).start();
  const events = spawn("stdbuf", ["-oL", "virsh", "-q", "-c", daemon.uri, "event", "--event", "lifecycle", "--loop", "--timestamp"]);
  const told: number[] = [];
  createInterface(events.stdout).on("line", (line) => {
    const [, day, time] = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\.\d{3})/.exec(line) ?? [];
    if (day) told.push(Date.parse(`${day}T${time}Z`));
  });
  await openList(page, server);
  await expectState(page, "toggled", "Running");
  await row(page, "toggled").evaluate(watchState);
  const count = 20 * rounds;
  for (let n = 0; n < count; n++) {
    const next = now() + 1000;
    await daemon.virshLater(n % 2 ? "resume" : "suspend", "toggled");
    await expect.poll(() => page.evaluate(() => (window as any).noted.length)).toBe(n + 1);
    await page.waitForTimeout(Math.max(0, next - now()));
  }
  const noted: [string, number][] = await page.evaluate(() => (window as any).noted);
  await expect.poll(() => told.length).toBe(count);
  events.kill();
  await server.stop();
  daemon.stop();
  const later = noted.map(([, at], n) => at - told[n]);
  report("B1", "libvirt's event to the text in the page, compared with virsh's line", "goal p50 ≤ +10 ms, beyond p50 ≤ +2 ms and p99 ≤ +16 ms", [
    { name: "later than virsh event prints it", unit: "ms", values: later },
  ]);
});

/** Counts the bytes that a browser receives from a server, headers included. */
async function counting(server: Server): Promise<{ url: string; bytes: () => number; connections: () => number; close: () => void }> {
  let bytes = 0;
  const open = new Set<Socket>();
  let connections = 0;
  const proxy = createServer((client) => {
    connections++;
    const upstream = connect(Number(new URL(server.url).port), "127.0.0.1");
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on("error", () => socket.destroy());
    }
    upstream.on("data", (part) => (bytes += part.length));
    client.pipe(upstream).pipe(client);
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  return { url, bytes: () => bytes, connections: () => connections, close: () => (open.forEach((socket) => socket.destroy()), proxy.close()) };
}

test("B11 bytes to a usable list", async ({ browser }) => {
  const server = await new Server(["--demo"]).start();
  const [all, requests]: number[][] = [[], []];
  for (let round = 0; round < rounds; round++) {
    const proxy = await counting(server);
    const context = await browser.newContext();
    const page = await context.newPage();
    let asked = 0;
    context.on("request", () => asked++);
    await page.goto(`${proxy.url}/vms`);
    await live(page);
    all.push(proxy.bytes() / 1000);
    requests.push(asked);
    await context.close();
    proxy.close();
  }
  await server.stop();
  report("B11", "bytes to a live list, cold, headers and worker included", "goal ≤ 300 kB, beyond ≤ 150 kB; Cockpit's machines page: 2,000 kB in 43 requests", [
    { name: "belvedere", unit: "kB", values: all },
    { name: "Cockpit, measured elsewhere", unit: "kB", values: [2000] },
  ], { requests: Math.max(...requests) });
});

test("B15 click to Running", async ({ page }) => {
  const daemon = new Daemon().start();
  daemon.guest("pressed");
  const server = await new Server(["--connect", `bench=${daemon.uri}`]).start();
  await openList(page, server);
  await expectState(page, "pressed", "Stopped");
  await row(page, "pressed").evaluate(watchState);
  await page.evaluate(() => {
    addEventListener("click", () => ((window as any).clicked = performance.timeOrigin + performance.now()), true);
  });
  const [clicked, virsh]: number[][] = [[], []];
  // Nothing is polled while a guest starts, as that would slow it down.
  const until = (state: string) =>
    page.evaluate((state) => new Promise<void>((resolve) => ((window as any).told = (text: string) => text === state && resolve())), state);
  const end = async () => {
    const ended = until("Stopped");
    await daemon.virshLater("destroy", "pressed");
    await ended;
    await expect(row(page, "pressed").getByRole("button", { name: "Start" })).not.toHaveAttribute("aria-disabled");
  };
  const click = async () => {
    await page.evaluate(() => ((window as any).noted.length = 0));
    const running = until("Running");
    await press(row(page, "pressed"), "Start");
    await running;
    clicked.push(await page.evaluate(() => {
      const { noted, clicked } = window as any;
      return noted.find(([text]: [string]) => text === "Running")[1] - clicked;
    }));
  };
  const start = async () => {
    const running = until("Running");
    virsh.push(await timed("virsh", ["-q", "-c", daemon.uri, "start", "pressed"]));
    await running;
  };
  for (let round = 0; round < 30; round++) {
    for (const side of round % 2 ? [start, click] : [click, start]) {
      await side();
      await end();
    }
  }
  await server.stop();
  daemon.stop();
  report("B15", "click on Start to Running in the page, real QEMU", "goal ≤ 1.05×, beyond ≤ 1.00×", [
    { name: "belvedere", unit: "ms", values: clicked },
    { name: "virsh start, as a process", unit: "ms", values: virsh },
  ]);
});
