// The host page, with and without JavaScript.
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { expect, Daemon, live, Server, test } from "../support.ts";

test("the host page shows hardware, devices and guest capabilities", async ({ page, demo, script }) => {
  await page.goto(`${demo.url}/hosts`);
  await page.getByRole("main").getByRole("link", { name: "demo" }).click();
  await expect(page).toHaveURL(/\/hosts\/demo$/);
  await expect(page.getByRole("heading", { name: "demo", level: 1 })).toBeVisible();
  const devices = page.getByRole("table", { name: "Devices" });
  await expect(devices.getByRole("row", { name: /0000:01:00\.0/ })).toContainText("NVIDIA GP104");
  await expect(page.getByRole("region", { name: "About the host" })).toContainText("off: for device passthrough");
  await expect(page.getByRole("heading", { name: "Guest capabilities" })).toBeVisible();
  if (script) {
    await live(page);
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      const { violations } = await new AxeBuilder({ page }).analyze();
      expect(violations.map((violation) => `${violation.id} ${violation.nodes[0].html}`)).toEqual([]);
    }
  }
  await page.goto(`${demo.url}/hosts/none`);
  await expect(page.getByRole("heading", { name: "Host not found" })).toBeVisible();
});

test("a real host reports its devices and NUMA nodes", async ({ page, script }) => {
  const daemon = new Daemon().start();
  const server = await new Server(["--connect", `atlas=${daemon.uri}`]).start();
  try {
    await page.goto(`${server.url}/hosts/atlas`);
    await expect(page.getByRole("table", { name: "NUMA nodes" }).getByRole("row")).not.toHaveCount(1);
    await expect(page.getByRole("table", { name: "Devices" }).getByRole("row", { name: /pci 0000:/ }).first()).toBeVisible();
    await expect(page.getByRole("region", { name: "x86_64" })).toContainText("qemu");
    await page.getByRole("region", { name: "x86_64" }).getByText(/^\d+ types$/).click();
    await expect(page.getByRole("region", { name: "x86_64" })).toContainText("pc-q35");
    if (script) await comesAndGoes(page);
  } finally {
    await server.stop();
    daemon.stop();
  }
});

/** The last device is removed and added again, as reported by the kernel, before the page is refreshed anyway. */
async function comesAndGoes(page: Page): Promise<void> {
  await live(page);
  const ours = spawnSync("pgrep", ["-x", "-r", "D,R,S", "systemd-udevd"]).status !== 0;
  if (ours) execFileSync("/lib/systemd/systemd-udevd", ["--daemon"]);
  try {
    const devices = page.getByRole("table", { name: "Devices" }).getByRole("rowheader");
    const last = (await devices.allTextContents()).map((text) => text.match(/pci (\S+)/)?.[1]).filter(Boolean).pop()!;
    for (const action of ["remove", "add"]) {
      writeFileSync(`/sys/bus/pci/devices/${last}/uevent`, action);
      await expect(devices.filter({ hasText: last })).toHaveCount(action === "add" ? 1 : 0, { timeout: 8_000 });
    }
  } finally {
    if (ours) execFileSync("pkill", ["-x", "systemd-udevd"]);
  }
}

test("the About page shows version, host capabilities and licences", async ({ page, demo }) => {
  await page.goto(`${demo.url}/about`);
  await expect(page).toHaveTitle("About · Belvedere");
  await expect(page.getByRole("region", { name: "Server" })).toContainText(/Version\s*\d+\.\d+\.\d+/);
  await expect(page.getByRole("table", { name: "Hosts" }).getByRole("row", { name: /demo/ })).toContainText("TEST");
  await expect(page.getByRole("table", { name: "Third-party components" })).toContainText("LGPL-2.1-or-later");
});
