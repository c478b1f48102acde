// The server alone: B9, B10, B14.
import { cpSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { manyMachines, Server, site, test } from "../end2end/support.ts";
import { inFolder, load, now, report, results, rounds, timed } from "./measure.mts";

test("B9 start to ready", async () => {
  await inFolder(async (folder) => {
    const uri = manyMachines(1000, folder);
    const names = Array.from({ length: 1000 }, (_, n) => `vm-${String(n).padStart(4, "0")}`);
    const script = ["list --all", ...names.map((name) => `dumpxml ${name}`)].join("\n");
    const [ready, virsh]: number[][] = [[], []];
    for (let round = 0; round < Math.max(rounds, 7); round++) {
      const started = now();
      const server = await new Server(["--connect", `bench=${uri}`]).start();
      ready.push(now() - started);
      await server.stop();
      virsh.push(await timed("virsh", ["-q", "-c", uri], script));
    }
    report("B9", "process start to /readyz, 1,000 machines", "goal ≤ 1500 ms, beyond ≤ 400 ms", [
      { name: "belvedere", unit: "ms", values: ready },
      { name: "virsh list --all and dumpxml each", unit: "ms", values: virsh },
    ]);
  });
});

test("B10 the list of 1,000 machines, rendered on the server", async () => {
  await inFolder(async (folder) => {
    const copy = join(results, "site");
    cpSync(site, copy, { recursive: true });
    const start = () => new Server(["--connect", `bench=${manyMachines(1000, folder)}`], 0, copy).start();
    const list = async (server: Server) => (await fetch(`${server.url}/vms`, { headers: { "accept-encoding": "identity" } })).text();
    // A server knows only the files that exist when it starts.
    const before = await start();
    writeFileSync(join(copy, "pkg/list.html"), await list(before));
    await before.stop();
    const server = await start();
    const html = await list(server);
    const still = `${/"(\/pkg\/\w+)\//.exec(html)![1]}/list.html`;
    const packed = await new Promise<number>((resolve, reject) => {
      let bytes = 0;
      request(`${server.url}/vms`, { headers: { "accept-encoding": "br" } }, (response) => {
        response.on("data", (part) => (bytes += part.length)).once("end", () => resolve(bytes));
      }).once("error", reject).end();
    });
    const seconds = Number(process.env.SECONDS ?? 20);
    for (const encoding of ["identity", "br"]) {
      const rates: number[][] = [[], []], tails: number[][] = [[], []];
      for (let round = 0; round < rounds; round++) {
        ["/vms", still].forEach((path, side) => {
          const { rate, p99 } = load(server.url + path, encoding === "br" ? Math.ceil(seconds / 4) : seconds, `Accept-Encoding: ${encoding}`);
          rates[side].push(rate);
          tails[side].push(p99);
        });
      }
      const sides = (values: number[][], unit: string) =>
        ["rendered", "static file of the same HTML"].map((name, side) => ({ name, unit, values: values[side] }));
      const facts = { bytes: html.length, "bytes in brotli": packed };
      report(`B10-${encoding}-rate`, `list of 1,000, 25 connections, ${encoding}`, "goal ≥ 0.2×, beyond ≥ 0.5×", sides(rates, "/s"), facts);
      report(`B10-${encoding}-p99`, "list of 1,000, slowest of a hundred responses in each round", "goal ≤ 25 ms, beyond ≤ 7 ms", sides(tails, "ms"));
    }
    await server.stop();
  });
});

test("B14 a command is accepted", async () => {
  await inFolder(async (folder) => {
    const server = await new Server(["--connect", `bench=${manyMachines(1000, folder, true)}`]).start();
    const domains = (await server.inventory()).hosts.bench.domains;
    const single = manyMachines(1, folder, true);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const post = (target: string) =>
      new Promise<number>((resolve, reject) => {
        const body = JSON.stringify({ requestId: crypto.randomUUID(), host: "bench", target, command: { kind: "start" } });
        const started = now();
        const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
        const sent = request(`${server.url}/api/v1/commands`, { method: "POST", agent, headers }, (response) => {
          response.resume().once("end", () => (response.statusCode === 202 ? resolve(now() - started) : reject(new Error(`${response.statusCode}`))));
        });
        sent.once("error", reject).end(body);
      });
    const [accepted, virsh]: number[][] = [[], []];
    // As many as an account may send at once.
    const share = Math.floor(300 / rounds);
    for (let round = 0; round < rounds; round++) {
      for (const domain of domains.slice(round * share, (round + 1) * share)) accepted.push(await post(domain.id));
      for (let n = 0; n < 20; n++) virsh.push(await timed("virsh", ["-q", "-c", single, "start", "vm-0000"]));
    }
    agent.destroy();
    await server.stop();
    report("B14", "start accepted (202, record on disk) on the test driver", "goal p99 ≤ 25 ms, beyond ≤ 5 ms", [
      { name: "belvedere", unit: "ms", values: accepted },
      { name: "virsh start, as a process", unit: "ms", values: virsh },
    ]);
  });
});
