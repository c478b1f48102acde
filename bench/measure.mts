// Shared by all benches: rounds, statistics and the report. A bench makes no claims: it prints the
// measurements, product and reference interleaved in one run, and stores the raw values.
import { spawn, execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
export const results = join(root, "target/bench");
export const rounds = Number(process.env.ROUNDS ?? 5);
export const seed = Number(process.env.SEED ?? 1);

/** Milliseconds with fractions, on the clock that virsh and the browser share. */
export const now = (): number => performance.timeOrigin + performance.now();

/** The quantile of values for a share between 0 and 1. */
export function quantile(values: number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

export type Side = { name: string; unit: string; values: number[] };

/** Prints one comparison and stores its raw values. */
export function report(id: string, what: string, goals: string, sides: Side[], facts: object = {}): void {
  const [product, reference] = sides;
  const lines = sides.map(({ name, unit, values }) => {
    const [p50, p99] = [quantile(values, 0.5), quantile(values, 0.99)];
    return `    ${name.padEnd(34)} median ${round(p50)} ${unit}, p99 ${round(p99)} ${unit} (${values.length})`;
  });
  if (reference) {
    const ratio = (share: number) => round(quantile(product.values, share) / quantile(reference.values, share));
    lines.push(`    ratio: median ${ratio(0.5)}, p99 ${ratio(0.99)}`);
  }
  for (const [name, value] of Object.entries(facts)) lines.push(`    ${name}: ${value}`);
  console.log(`\n${id}  ${what}\n${lines.join("\n")}\n    ${goals}`);
  mkdirSync(results, { recursive: true });
  const machine = { processor: cpus()[0].model, cores: cpus().length, node: process.version };
  writeFileSync(join(results, `${id}.json`), JSON.stringify({ id, what, goals, seed, rounds, machine, facts, sides }, null, 1));
}

const round = (value: number): string => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3));

export const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** CPU seconds used by a process. */
export function cpu(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Runs `work` with a directory that is removed afterwards. */
export async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "bvb-"));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs a program and returns its duration in milliseconds. */
export async function timed(program: string, args: string[], input = ""): Promise<number> {
  const started = now();
  const child = spawn(program, args, { stdio: ["pipe", "ignore", "inherit"] });
  child.stdin.end(input);
  const code = await new Promise((resolve) => child.once("close", resolve));
  if (code !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${code}`);
  return now() - started;
}

/** Loads an address for some seconds with wrk and 25 connections. */
export function load(url: string, seconds: number, ...headers: string[]): { rate: number; p99: number } {
  const wanted = headers.flatMap((header) => ["-H", header]);
  const text = execFileSync("wrk", ["-t1", "-c25", `-d${seconds}s`, "--latency", ...wanted, url], { encoding: "utf8" });
  if (/Non-2xx|Socket errors/.test(text)) throw new Error(text);
  const [, value, unit] = /99%\s+([\d.]+)(us|ms|s)/.exec(text)!;
  return { rate: Number(/Requests\/sec:\s+([\d.]+)/.exec(text)![1]), p99: Number(value) * { us: 1e-3, ms: 1, s: 1e3 }[unit]! };
}
