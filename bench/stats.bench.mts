// The cost of statistics: B7.
import { readFileSync, readdirSync } from "node:fs";
import { Daemon, Server, test } from "../end2end/support.ts";
import { cpu, pause, quantile, report, rounds } from "./measure.mts";

const guests = Number(process.env.GUESTS ?? 10);
const seconds = Number(process.env.SECONDS ?? 20);

/** The QEMU processes of a daemon's guests. */
const qemus = (daemon: Daemon): number[] =>
  readdirSync(`${daemon.folder}/run/qemu`).filter((name) => name.endsWith(".pid")).map((name) => Number(readFileSync(`${daemon.folder}/run/qemu/${name}`, "utf8")));

test("B7 CPU time of statistics", async () => {
  const daemon = new Daemon().start();
  const names = Array.from({ length: guests }, (_, n) => `m${n}`);
  for (const name of names) daemon.guest(name);
  for (const name of names) daemon.virsh("start", name);
  // Until the guests have booted and are idle.
  await pause(40_000);
  const libvirtd = daemon.pid();
  /** Percent of a core that libvirtd, all guests and `more` use while `during` runs. */
  const used = async (more: number[], during: () => Promise<void>): Promise<number> => {
    const sum = () => [libvirtd, ...qemus(daemon), ...more].reduce((total, pid) => total + cpu(pid), 0);
    const before = sum();
    await during();
    return ((sum() - before) / seconds) * 100;
  };
  const resting = () => pause(seconds * 1_000);
  const polling = async () => {
    for (let round = 0; round < seconds / 2; round++) {
      const next = pause(2_000);
      await daemon.virshLater("domstats");
      await next;
    }
  };
  const [unwatched, watched, virsh]: number[][] = [[], [], []];
  const per100 = (percent: number) => (percent / guests) * 100;
  for (let round = 0; round < rounds; round++) {
    const idle = await used([], resting);
    const server = await new Server(["--connect", `bench=${daemon.uri}`]).start();
    // Reading everything at the start is not part of the measurement.
    await pause(20_000);
    unwatched.push(per100((await used([server.pid], resting)) - idle));
    const ids = (await server.inventory()).hosts.bench.domains.slice(0, Math.ceil(guests / 5)).map((domain: any) => `bench/${domain.id}`);
    const gone = new AbortController();
    const stream = await fetch(`${server.url}/events?watch=${ids.join(",")}`, { signal: gone.signal });
    const reading = stream.body!.pipeTo(new WritableStream()).catch(() => {});
    watched.push(per100((await used([server.pid], resting)) - idle));
    gone.abort();
    await reading;
    await server.stop();
    virsh.push(per100((await used([], polling)) - idle));
  }
  daemon.stop();
  const goals = "goal ≤ 0.33×, beyond ≤ 0.05× unwatched and ≤ 0.2× with a fifth watched; QEMU and libvirtd included, minus their idle usage";
  report("B7", `statistics every 2 s, for 100 running machines (measured with ${guests})`, goals, [
    { name: "belvedere, unwatched", unit: "% of a core", values: unwatched },
    { name: "virsh domstats every 2 s", unit: "% of a core", values: virsh },
    { name: "belvedere, a fifth watched", unit: "% of a core", values: watched },
  ], { "watched against virsh": (quantile(watched, 0.5) / quantile(virsh, 0.5)).toFixed(3) });
});
