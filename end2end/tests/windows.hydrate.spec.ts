// Tabs of a browser with more machines than it mirrors, while their number and the server change.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, live, manyMachines, press, row, Server, test } from "../support.ts";

test("a page follows when the machines become few enough to be mirrored, and too many again", async ({ page, context }) => {
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
