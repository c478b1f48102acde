// Storage and networks: many volumes, many leases, and uploads: B19, B20, B21.
import { mkdirSync, openSync, ftruncateSync, closeSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Daemon, Server, test } from "../end2end/support.ts";
import { now, report, rounds, timed } from "./measure.mts";

/** A libvirtd with a directory pool. */
function shelf(): { daemon: Daemon; folder: string } {
  const daemon = new Daemon().start();
  const folder = join(daemon.folder, "images");
  mkdirSync(folder, { recursive: true });
  daemon.virsh("pool-define-as", "shelf", "dir", "--target", folder);
  daemon.virsh("pool-start", "shelf");
  return { daemon, folder };
}

/** Milliseconds until the whole response has arrived. */
async function fetched(url: string): Promise<number> {
  const began = now();
  const answer = await fetch(url);
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${text.slice(0, 200)}`);
  return now() - began;
}

/** The first object of a type on the host. */
const first = async (server: Server, kind: "pools" | "networks"): Promise<string> =>
  (await server.inventory()).hosts.bench[kind][0].id;

/** Sends a command and returns the request's id. */
async function send(server: Server, target: string, command: object): Promise<string> {
  const requestId = crypto.randomUUID();
  const body = JSON.stringify({ requestId, host: "bench", target, command });
  const answer = await fetch(`${server.url}/api/v1/commands`, { method: "POST", headers: { "content-type": "application/json" }, body });
  if (answer.status !== 202) throw new Error(await answer.text());
  return requestId;
}

/** Waits until the request has succeeded. */
async function ended(server: Server, id: string): Promise<void> {
  for (;;) {
    const task = await (await fetch(`${server.url}/api/v1/tasks/${id}`)).json();
    if (task.outcome === "succeeded") return;
    if (task.outcome) throw new Error(JSON.stringify(task));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test("B19 a pool of 5,000 volumes", async () => {
  const { daemon, folder } = shelf();
  for (let n = 0; n < 5_000; n++) {
    const file = openSync(join(folder, `disk-${String(n).padStart(4, "0")}.raw`), "w");
    ftruncateSync(file, 1 << 20);
    closeSync(file);
  }
  daemon.virsh("pool-refresh", "shelf");
  const [cold, warm, changed, virsh]: number[][] = [[], [], [], []];
  for (let round = 0; round < rounds; round++) {
    const server = await new Server(["--connect", `bench=${daemon.uri}`]).start();
    const pool = await first(server, "pools");
    const page = `${server.url}/storage/bench/${pool}`;
    cold.push(await fetched(page));
    // Each is a different page, so that none is cached.
    for (let n = 2; n <= 6; n++) warm.push(await fetched(`${page}?page=${n}`));
    const volume = { name: `new-${round}.raw`, capacityBytes: 1 << 20, format: "raw" };
    await ended(server, await send(server, pool, { kind: "createVolume", volume }));
    changed.push(await fetched(page));
    await server.stop();
    virsh.push(await timed("virsh", ["-q", "-c", daemon.uri, "vol-list", "shelf", "--details"]));
  }
  daemon.stop();
  report("B19", "page of a pool of 5,000 volumes, first request", "no goal; virsh reads the same data of each volume", [
    { name: "belvedere, first page", unit: "ms", values: cold },
    { name: "virsh vol-list --details", unit: "ms", values: virsh },
    { name: "belvedere, further pages", unit: "ms", values: warm },
    { name: "belvedere, after another volume was created", unit: "ms", values: changed },
  ]);
});

test("B20 a network with 200 leases", async () => {
  const daemon = new Daemon().start();
  const definition = join(daemon.folder, "net.xml");
  writeFileSync(definition, "<network><name>leases</name><bridge name='bvleases'/><ip address='10.213.99.1' netmask='255.255.255.0'><dhcp><range start='10.213.99.2' end='10.213.99.254'/></dhcp></ip></network>");
  daemon.virsh("net-define", definition);
  daemon.virsh("net-start", "leases");
  // What libvirt's lease helper writes for dnsmasq, as if 200 guests had requested an address.
  const expiry = Math.floor(Date.now() / 1000) + 3_600;
  const leases = Array.from({ length: 200 }, (_, n) => ({
    "ip-address": `10.213.99.${n + 10}`, "mac-address": `52:54:00:99:00:${n.toString(16).padStart(2, "0")}`, hostname: `guest-${n}`, "expiry-time": expiry,
  }));
  writeFileSync(join(daemon.folder, "lib/dnsmasq/bvleases.status"), JSON.stringify(leases));
  const [page, virsh]: number[][] = [[], []];
  for (let round = 0; round < rounds; round++) {
    const server = await new Server(["--connect", `bench=${daemon.uri}`]).start();
    const address = `${server.url}/networks/bench/${await first(server, "networks")}`;
    page.push(await fetched(address));
    const told = await (await fetch(`${server.url}/api/v1/networks/bench/${await first(server, "networks")}/leases`)).json();
    if (told.leases.length !== 200) throw new Error(`${told.leases.length} leases instead of 200`);
    await server.stop();
    virsh.push(await timed("virsh", ["-q", "-c", daemon.uri, "net-dhcp-leases", "leases"]));
  }
  daemon.stop();
  report("B20", "page of a network with 200 leases, first request", "no goal", [
    { name: "belvedere", unit: "ms", values: page },
    { name: "virsh net-dhcp-leases", unit: "ms", values: virsh },
  ]);
});

test("B21 upload of a 512 MiB file", async () => {
  const { daemon } = shelf();
  const server = await new Server(["--connect", `bench=${daemon.uri}`]).start();
  const target = await first(server, "pools");
  const size = 512 << 20;
  // Data that cannot be stored as a hole.
  const piece = Buffer.alloc(16 << 20, 0x5a);
  const file = join(daemon.folder, "file.raw");
  writeFileSync(file, Buffer.alloc(size, 0x5a));
  const [ours, virsh]: number[][] = [[], []];
  const rate = (milliseconds: number) => size / 1e6 / (milliseconds / 1e3);
  for (let round = 0; round < rounds; round++) {
    const id = await send(server, target, { kind: "uploadVolume", name: "ours.raw", capacityBytes: size });
    while ((await fetch(`${server.url}/api/v1/uploads/${id}`)).status !== 200) await new Promise((resolve) => setTimeout(resolve, 10));
    const began = now();
    for (let offset = 0; offset < size; offset += piece.length) {
      const answer = await fetch(`${server.url}/api/v1/uploads/${id}?offset=${offset}`, { method: "PUT", headers: { "content-type": "application/octet-stream" }, body: piece });
      if (!answer.ok) throw new Error(await answer.text());
    }
    await ended(server, id);
    ours.push(rate(now() - began));
    await ended(server, await send(server, target, { kind: "deleteVolume", name: "ours.raw" }));
    daemon.virsh("vol-create-as", "shelf", "virsh.raw", String(size), "--format", "raw");
    virsh.push(rate(await timed("virsh", ["-q", "-c", daemon.uri, "vol-upload", "virsh.raw", file, "--pool", "shelf"])));
    daemon.virsh("vol-delete", "virsh.raw", "--pool", "shelf");
  }
  await server.stop();
  daemon.stop();
  report("B21", "upload of a 512 MiB file into a volume, in pieces of 16 MiB over HTTP", "no goal", [
    { name: "belvedere", unit: "MB/s", values: ours },
    { name: "virsh vol-upload", unit: "MB/s", values: virsh },
  ]);
});
