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
