// A thousand machines on a real libvirtd, changed at a given rate.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Daemon, expect } from "../end2end/support.ts";
import { now, pause } from "./measure.mts";

/** libvirt's test driver behind a real daemon, where virsh changes what Belvedere watches. */
export class Flood {
  readonly daemon = new Daemon().start();
  readonly uri = this.daemon.uri.replace("qemu+unix:///system", "test+unix:///default");
  private readonly shell: ChildProcess = spawn("virsh", ["-q", "-c", this.uri], { stdio: ["pipe", "pipe", "ignore"] });
  private done = 0;
  private asked = 0;
  private turn = 0;
  readonly pid: number;
  constructor(private readonly count: number, folder: string) {
    this.pid = Number(execFileSync(join(import.meta.dirname, "../end2end/host/daemon.sh"), ["pid", this.daemon.folder], { encoding: "utf8" }));
    // The shell echoes its input after the prompt; output starts a line.
    let text = "";
    this.shell.stdout!.on("data", (part) => {
      text = (text + part).slice(-200);
      for (const [, mark] of text.matchAll(/(?:^|\n)mark-(\d+)/g)) this.done = Number(mark);
    });
    for (let n = 0; n < count; n++) {
      const file = join(folder, `vm-${n}.xml`);
      writeFileSync(file, `<domain type="test"><name>vm-${n}</name><memory unit="MiB">512</memory><os><type>hvm</type></os></domain>`);
      this.say(`define ${file}`, `start vm-${n}`);
    }
  }
  private say(...lines: string[]): void {
    this.shell.stdin!.write(lines.join("\n") + "\n");
  }
  async idle(): Promise<void> {
    const wanted = ++this.asked;
    this.say(`echo mark-${wanted}`);
    await expect.poll(() => this.done, { timeout: 120_000, intervals: [20] }).toBe(wanted);
  }
  /** Changes machines one after the other at a rate per second; returns the number of changes. */
  async flap(rate: number, forSeconds: number): Promise<number> {
    const began = now();
    let sent = 0;
    while (now() - began < forSeconds * 1000) {
      const due = Math.floor(((now() - began) / 1000) * rate);
      for (; sent < due; sent++, this.turn++) {
        this.say(`${Math.floor(this.turn / this.count) % 2 ? "resume" : "suspend"} vm-${this.turn % this.count}`);
      }
      await pause(5);
    }
    await this.idle();
    return sent;
  }
  stop(): void {
    this.shell.stdin!.end();
    this.daemon.stop();
  }
}
