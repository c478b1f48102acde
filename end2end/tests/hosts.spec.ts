// One host: what it is made of, with and without JavaScript.
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { expect, Daemon, live, Server, test } from "../support.ts";

test("the page of a host tells its parts, devices and what it can run", async ({ page, demo, script }) => {
  await page.goto(`${demo.url}/hosts`);
  await page.getByRole("main").getByRole("link", { name: "demo" }).click();
  await expect(page).toHaveURL(/\/hosts\/demo$/);
  await expect(page.getByRole("heading", { name: "demo", level: 1 })).toBeVisible();
  const devices = page.getByRole("table", { name: "Devices" });
  await expect(devices.getByRole("row", { name: /0000:01:00\.0/ })).toContainText("NVIDIA GP104");
  await expect(page.getByRole("region", { name: "About the host" })).toContainText("off: turn it on");
  await expect(page.getByRole("heading", { name: "Machines it can run" })).toBeVisible();
  if (script) {
    await live(page);
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      const { violations } = await new AxeBuilder({ page }).analyze();
      expect(violations.map((violation) => `${violation.id} ${violation.nodes[0].html}`)).toEqual([]);
    }
  }
  await page.goto(`${demo.url}/hosts/none`);
  await expect(page.getByRole("heading", { name: "This host is not there" })).toBeVisible();
});

test("a real host tells its devices and NUMA cells", async ({ page, script }) => {
  const daemon = new Daemon().start();
  const server = await new Server(["--connect", `atlas=${daemon.uri}`]).start();
  try {
    await page.goto(`${server.url}/hosts/atlas`);
    await expect(page.getByRole("table", { name: "NUMA cells" }).getByRole("row")).not.toHaveCount(1);
    await expect(page.getByRole("table", { name: "Devices" }).getByRole("row", { name: /pci 0000:/ }).first()).toBeVisible();
    await expect(page.getByRole("region", { name: "x86_64" })).toContainText("qemu");
    await page.getByRole("region", { name: "x86_64" }).getByText(/types$/).click();
    await expect(page.getByRole("region", { name: "x86_64" })).toContainText("pc-q35");
    if (script) await comesAndGoes(page);
  } finally {
    await server.stop();
    daemon.stop();
  }
});

/** The last device goes, as the kernel tells, and is back again; long before the page is read anyway. */
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

test("the page about the server names its version, its hosts' abilities and licences", async ({ page, demo }) => {
  await page.goto(`${demo.url}/about`);
  await expect(page).toHaveTitle("About · Belvedere");
  await expect(page.getByRole("region", { name: "Server" })).toContainText(/Version\s*\d+\.\d+\.\d+/);
  await expect(page.getByRole("table", { name: "Hosts" }).getByRole("row", { name: /demo/ })).toContainText("TEST");
  await expect(page.getByRole("table", { name: "Third-party components" })).toContainText("LGPL-2.1-or-later");
});
