// Browser tests: every spec runs with JavaScript and, unless it is named *.hydrate.spec.ts, also
// without it. Each test starts the server it needs.
import { defineConfig } from "@playwright/test";

const launchOptions = {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    // A host name outside a secure context, like an address in a local network.
    "--host-resolver-rules=MAP belvedere.test 127.0.0.1",
  ],
};

export default defineConfig({
  testDir: "tests",
  fullyParallel: false,
  workers: 1,
  forbidOnly: !!process.env.CI,
  timeout: 60_000,
  expect: { timeout: 10_000 },
  reporter: [["list"]],
  outputDir: "test-results",
  use: { launchOptions, trace: "off", screenshot: "only-on-failure" },
  projects: [
    { name: "script", use: { javaScriptEnabled: true } },
    { name: "plain", use: { javaScriptEnabled: false }, testIgnore: /\.hydrate\.spec\.ts$/ },
  ],
});
