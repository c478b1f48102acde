// More machines than a browser mirrors: a page has its part of them, live, and figures over all.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, live, manyMachines, press, row, Server, test } from "../support.ts";

test("a list of thousands is live, is searched and paged, and leads to its machines", async ({ page, script }) => {
  const folder = mkdtempSync(join(tmpdir(), "belvedere-windows-"));
  const server = await new Server(["--connect", `many=${manyMachines(2_400, folder)}`]).start();
  try {
    await page.goto(`${server.url}/vms`);
    const rows = page.getByRole("table", { name: "Virtual machines" }).locator("tbody tr");
    const head = page.locator(".head");
    await expect(rows).toHaveCount(30);
    await expect(head).toContainText("2400");
    await expect(page.getByRole("navigation", { name: "Pagination" })).toContainText("1 to 30 of 2400 machines");
    if (script) await live(page);
    await page.getByRole("link", { name: "Next page" }).click();
    await expect(page.getByRole("navigation", { name: "Pagination" })).toContainText("31 to 60 of 2400 machines");
    await expect(row(page, "vm-0030")).toBeVisible();
    await expect(rows).toHaveCount(30);
    if (!script) return;
    // The search finds machines that were not here.
    await page.getByLabel("Filter machines").fill("vm-123");
    await expect(rows).toHaveCount(10);
    await expect(head).toContainText("10 of 2400");
    await expect(page.getByRole("link", { name: "All 10" })).toBeVisible();
    // A machine of the part is started, and the figures follow.
    await expect(row(page, "vm-1230")).toContainText("Stopped");
    await press(row(page, "vm-1230"), "Start");
    await expect(row(page, "vm-1230")).toContainText("Running");
    await expect(page.getByRole("link", { name: /^Running 7/ })).toBeVisible({ timeout: 10_000 });
    // Its page, and back.
    await row(page, "vm-1230").getByRole("link", { name: "vm-1230" }).click();
    await expect(page.getByRole("heading", { name: "vm-1230" })).toBeVisible();
    await page.getByRole("link", { name: "Devices" }).click();
    await expect(page.getByRole("heading", { name: "vm-1230" })).toBeVisible();
    await page.goBack();
    await page.goBack();
    await expect(rows).toHaveCount(10);
    await expect(page.getByRole("region", { name: "Notices" })).not.toContainText("deleted");
    // Figures over all on other pages.
    await page.getByRole("link", { name: "Hosts 1" }).click();
    await expect(page.getByRole("region", { name: "many" })).toContainText("2400 machines, 1601 running");
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a page follows when the machines become few enough to be mirrored, and too many again", async ({ page, context, script }) => {
  test.skip(!script, "without JavaScript a page follows nothing");
  const folders = ["a", "b"].map(() => mkdtempSync(join(tmpdir(), "belvedere-windows-")));
  const hosts = folders.map((folder, n) => ["--connect", `${"ab"[n]}=${manyMachines(1_500, folder)}`]);
  const data = mkdtempSync(join(tmpdir(), "belvedere-windows-"));
  const kept = ["--data", data];
  let server = await new Server([...hosts.flat(), ...kept]).start();
  const port = Number(new URL(server.url).port);
  const begin = async (args: string[]) => {
    await server.stop();
    server = await new Server([...args, ...kept], port).start();
  };
  try {
    await page.goto(`${server.url}/vms`);
    const rows = page.getByRole("table", { name: "Virtual machines" }).locator("tbody tr");
    const head = page.locator(".head");
    await expect(head).toContainText("3000");
    await live(page);
    // Another tab of the same browser, at a machine.
    const other = await context.newPage();
    await other.goto(`${server.url}/vms?host=a&q=vm-0009`);
    await row(other, "vm-0009").getByRole("link", { name: "vm-0009" }).click();
    await expect(other.getByRole("heading", { name: "vm-0009" })).toBeVisible();
    await live(other);
    await begin(hosts[0]!);
    await expect(head).toContainText("1500", { timeout: 30_000 });
    await live(page);
    await expect(page.getByRole("link", { name: "Show more" })).toBeVisible();
    await begin(hosts.flat());
    await expect(head).toContainText("3000", { timeout: 30_000 });
    await live(page);
    await expect(page.getByRole("link", { name: "Next page" })).toBeVisible({ timeout: 30_000 });
    await expect(rows).toHaveCount(30);
    // What is shown is followed again, in both tabs.
    await live(other);
    await expect(other.getByRole("heading", { name: "vm-0009" })).toBeVisible();
    await press(other, "Start");
    await expect(other.locator(".state").first()).toContainText("Running");
    await expect(rows.filter({ hasText: "vm-0009" }).filter({ hasText: "Running" })).toHaveCount(1);
    await expect(other.getByRole("region", { name: "Notices" })).not.toContainText("deleted");
  } finally {
    await server.stop();
    [...folders, data].forEach((folder) => rmSync(folder, { recursive: true, force: true }));
  }
});
