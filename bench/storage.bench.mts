// What storage costs: a pool of 5,000 volumes as a page, and a file on its way into a
// volume. Both against a real libvirtd and beside virsh.
import { mkdirSync, openSync, closeSync, ftruncateSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Daemon, expect, Server, test } from "../end2end/support.ts";
import { now, report, rounds, timed } from "./measure.mts";

/** A libvirtd with a pool of a folder, and a server over it. */
async function shelf(prepare: (folder: string) => void): Promise<{ daemon: Daemon; server: Server; pool: string }> {
  const daemon = new Daemon().start();
  const folder = join(daemon.folder, "pool");
  mkdirSync(folder);
  prepare(folder);
  daemon.virsh("pool-define-as", "pool", "dir", "--target", folder);
  daemon.virsh("pool-start", "pool");
  const server = await new Server(["--connect", `atlas=${daemon.uri}`]).start();
  const [pool] = (await server.inventory()).hosts.atlas.pools;
  return { daemon, server, pool: pool.id };
}

test("B19 a pool of 5,000 volumes", async ({ page }) => {
  const { daemon, server, pool } = await shelf((folder) => {
    for (let n = 0; n < 5_000; n++) {
      const file = openSync(join(folder, `disk-${String(n).padStart(4, "0")}.raw`), "w");
      ftruncateSync(file, 1 << 20);
      closeSync(file);
    }
  });
  const [first, again, virsh]: number[][] = [[], [], []];
  for (let round = 0; round < rounds; round++) {
    // What was read is forgotten, so that libvirt is asked anew.
    daemon.virsh("pool-refresh", "pool");
    await expect.poll(async () => (await fetch(`${server.url}/api/v1/pools/atlas/${pool}/volumes`)).status).toBe(200);
    daemon.virsh("pool-refresh", "pool");
    for (const values of [first, again]) {
      const started = now();
      const text = await (await fetch(`${server.url}/storage/atlas/${pool}?sort=-size&round=${round}`)).text();
      expect(text).toContain("1 to 100 of 5000");
      values.push(now() - started);
    }
    virsh.push(await timed("virsh", ["-q", "-c", daemon.uri, "vol-list", "pool", "--details"]));
  }
  await page.goto(`${server.url}/storage/atlas/${pool}`);
  const typed = now();
  await page.getByLabel("Filter volumes").fill("disk-4321");
  await page.getByLabel("Filter volumes").press("Enter");
  await expect(page.getByRole("rowheader", { name: "disk-4321.raw" })).toBeVisible();
  const facts = { "the page read again, median ms": again.sort((a, b) => a - b)[again.length >> 1].toFixed(1), "a search in the browser, ms": (now() - typed).toFixed(0) };
  await server.stop();
  daemon.stop();
  report("B19", "5,000 volumes read from libvirt and drawn", "goal: no slower than virsh", [
    { name: "belvedere, the whole page", unit: "ms", values: first },
    { name: "virsh vol-list --details", unit: "ms", values: virsh },
  ], facts);
});

test("B20 a file into a volume", async () => {
  const size = 256 << 20, piece = 16 << 20;
  const { daemon, server, pool } = await shelf(() => {});
  const content = Buffer.alloc(size, "belvedere");
  const source = join(daemon.folder, "source");
  writeFileSync(source, content);
  const [ours, virsh]: number[][] = [[], []];
  for (let round = 0; round < rounds; round++) {
    const started = now();
    const requestId = crypto.randomUUID();
    const command = { kind: "uploadVolume", name: `ours-${round}`, capacityBytes: size };
    const body = JSON.stringify({ requestId, host: "atlas", target: pool, command });
    await fetch(`${server.url}/api/v1/commands`, { method: "POST", headers: { "content-type": "application/json" }, body });
    const at = `${server.url}/api/v1/uploads/${requestId}`;
    await expect.poll(async () => (await fetch(at)).status, { intervals: [5] }).toBe(200);
    for (let offset = 0; offset < size; offset += piece) {
      const sent = await fetch(`${at}?offset=${offset}`, { method: "PUT", headers: { "content-type": "application/octet-stream" }, body: content.subarray(offset, offset + piece) });
      expect(sent.status).toBe(200);
    }
    ours.push(now() - started);
    expect(readFileSync(join(daemon.folder, "pool", `ours-${round}`)).equals(content)).toBe(true);
    daemon.virsh("vol-create-as", "pool", `virsh-${round}`, String(size), "--format", "raw");
    virsh.push(await timed("virsh", ["-q", "-c", daemon.uri, "vol-upload", "--pool", "pool", `virsh-${round}`, source]));
  }
  await server.stop();
  daemon.stop();
  report("B20", "256 MiB into a volume of a folder", "goal ≤ 1.5×", [
    { name: "belvedere, in pieces of 16 MiB", unit: "ms", values: ours },
    { name: "virsh vol-upload", unit: "ms", values: virsh },
  ]);
});
