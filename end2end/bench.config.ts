// Benches run in the same harness as the browser tests: one at a time, against a release build, and
// without limits on time.
import config from "./playwright.config.ts";

export default {
  ...config,
  testDir: "../bench",
  testMatch: /\.bench\.mts$/,
  timeout: 30 * 60_000,
  reporter: [["line"]],
  projects: [{ name: "bench", use: { javaScriptEnabled: true, trace: "off" as const } }],
};
