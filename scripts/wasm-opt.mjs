// Wraps Binaryen's wasm-opt (first in the Makefile's PATH): shrinks the module that a browser loads in
// two ways that no compiler knows, then runs the real wasm-opt.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import binaryen from "../end2end/node_modules/binaryen/index.js";

const NEVER = /hydrate_async(28_\$u7b\$\$u7b\$closure\$u7d\$\$u7d\$)?17h[0-9a-f]{16}E/;
/**
 * What writes a fraction (15 kB), and the one place that could: an error of serde, which no browser
 * shows. Ours are written by `app::format`, as `tidy` sees; these write nothing.
 */
const FRACTION = /core3fmt5floatdNt\w*_7Display3fmt|serde_core\.\.de\.\.WithDecimalPoint\$u20\$as\$u20\$core\.\.fmt\.\.Display\$GT\$3fmt17h/;
/** What server functions stream through, which the script offers to the page; ours has none. */
const STREAMS = /^(__wbg_)?intounderlying/;
const STREAM_CLASSES =
  /export class IntoUnderlying\w+ \{[^]*?\n\}\n|if \(Symbol\.dispose\) IntoUnderlying.*\n|const IntoUnderlying\w+ = [^]*?;\n/g;
/** Minimum length of the text of a future that is unique. */
const LONG = 600;

/**
 * Removes code that never runs. A type-erased view of tachys holds a pointer to each way in which it
 * can be made, so no compiler sees that nobody calls `hydrate_async`, which belongs to pages that are
 * taken over piece by piece. It is a twentieth of the module. What is alike was merged under either
 * name before, so only what cannot be alike anything else goes: no destructors, and no futures of a
 * few words. One that were called after all would end the program with "unreachable", as every
 * browser test sees.
 */
function withoutDead(bytes) {
  binaryen.setDebugInfo(true);
  const module = binaryen.readBinary(bytes);
  for (let at = module.getNumExports(); at-- > 0; ) {
    const { name } = binaryen.getExportInfo(module.getExportByIndex(at));
    if (STREAMS.test(name)) module.removeExport(name);
  }
  for (let at = 0; at < module.getNumFunctions(); at++) {
    const one = module.getFunctionByIndex(at);
    const { name, module: from, body } = binaryen.getFunctionInfo(one);
    if (FRACTION.test(name)) binaryen.Function.setBody(one, module.i32.const(0));
    if (from || !NEVER.test(name) || name.includes("drop_in_place")) continue;
    if (binaryen.emitText(body).length >= LONG) binaryen.Function.setBody(one, module.unreachable());
  }
  return module.emitBinary();
}

/** A number as WebAssembly writes it (LEB128). */
function leb(number) {
  const bytes = [];
  do bytes.push((number & 127) | (number > 127 ? 128 : 0));
  while ((number >>>= 7));
  return bytes;
}

/**
 * Gives what a module takes from its script names of a few letters, in both: those of wasm-bindgen
 * end in a hash each, which does not compress. The module is read by its sections only (WebAssembly
 * core specification, 5.5).
 */
function withShortNames(bytes, script) {
  const short = new Map();
  const shorten = (name) => short.get(name) ?? short.set(name, `_${short.size.toString(36)}`).get(name);
  let at = 8;
  const number = () => {
    for (let value = 0, shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      value |= (byte & 127) << shift;
      if (byte < 128) return value >>> 0;
    }
  };
  const text = () => {
    const length = number();
    return Buffer.from(bytes.subarray(at, (at += length))).toString();
  };
  while (bytes[at++] !== 2) at = number() + at;
  const start = at;
  const size = number();
  const [end, count] = [at + size, number()];
  const made = [...leb(count)];
  for (let n = 0; n < count; n++) {
    const [from, name] = [text(), text()];
    const begin = at;
    const kind = bytes[at++];
    if (kind !== 0) throw new Error(`an import that is no function: ${from}.${name}`);
    number();
    const called = Buffer.from(from.endsWith("_bg.js") ? shorten(name) : name);
    made.push(...leb(from.length), ...Buffer.from(from), ...leb(called.length), ...called, ...bytes.subarray(begin, at));
  }
  const whole = Buffer.concat([bytes.subarray(0, start), Buffer.from([...leb(made.length), ...made]), bytes.subarray(end)]);
  const ours = script.replace(STREAM_CLASSES, "");
  return [whole, ours.replace(/\b__wb(?:g|indgen)_\w+/g, (name) => short.get(name) ?? name)];
}

const words = process.argv.slice(2);
const file = words.find((word) => word.endsWith(".wasm"));
if (file) writeFileSync(file, withoutDead(readFileSync(file)));
const real = join(dirname(fileURLToPath(import.meta.url)), "../end2end/node_modules/.bin/wasm-opt");
const { status, error } = spawnSync(real, words, { stdio: "inherit" });
if (error) console.error(`wasm-opt: ${error.message}`);
// Only the main part takes anything from a script; it is written before it is made small.
const script = file?.replace(/\.wasm$/, ".js");
if (status === 0 && script && existsSync(script)) {
  const [module, glue] = withShortNames(readFileSync(file), readFileSync(script, "utf8"));
  writeFileSync(file, module);
  writeFileSync(script, glue);
}
process.exit(status ?? 1);
