// Usage of machines: figures in the list, charts, and their history.
import { expect, live, openList, row, test } from "../support.ts";

test("usage in the list updates live and disappears when the machine stops", async ({ page, demo }) => {
  await openList(page, demo);
  const cpu = row(page, "web-01").locator("[data-label=CPU]");
  await expect(cpu).toHaveText(/^\d+ %$/, { timeout: 15_000 });
  await expect(row(page, "web-01").locator("[data-label=Disk]")).toHaveText(/B\/s$/);
  await expect(row(page, "web-01").locator("[data-label=Network]")).toHaveText(/B\/s$/);
  await expect(row(page, "dns-2").locator("[data-label=CPU]")).toHaveText("");
  // The sparkline grows with each reading.
  const points = () => row(page, "web-01").locator(".spark.cpu polyline").getAttribute("points");
  await expect.poll(async () => (await points())!.split(" ").length, { timeout: 20_000 }).toBeGreaterThan(3);
  await demo.command("demo", "web-01", { kind: "forceOff" });
  await expect(cpu).toHaveText("");
});

test("a machine's charts update live, share one cursor and have text alternatives", async ({ page, demo }) => {
  await openList(page, demo);
  await row(page, "web-01").getByRole("link", { name: "web-01" }).click();
  const chart = (name: string) => page.getByRole("img", { name: new RegExp(`^${name}: `) });
  await expect(chart("CPU")).toHaveAccessibleName(/latest \d+ %, minimum \d+ %, maximum \d+ %/, { timeout: 20_000 });
  for (const name of ["Memory", "Disk", "Network"]) await expect(chart(name)).toHaveAccessibleName(/latest/);
  const drawn = () => chart("CPU").locator(".line").first().getAttribute("d");
  const before = await drawn();
  await expect.poll(drawn, { timeout: 20_000 }).not.toBe(before);
  await chart("CPU").hover();
  for (const name of ["CPU", "Memory"]) await expect(chart(name).locator(".pointer")).toHaveAttribute("d", /^M/);
  await page.mouse.move(0, 0);
  await expect(chart("Memory").locator(".pointer")).toHaveAttribute("d", "");
});

test("time ranges of a machine's charts can be selected, zoomed and shared", async ({ page, demo }) => {
  await openList(page, demo);
  await expect(row(page, "web-01").locator("[data-label=CPU]")).toHaveText(/%/, { timeout: 15_000 });
  await row(page, "web-01").getByRole("link", { name: "web-01" }).click();
  await expect(page).toHaveURL(/\/vms\/demo\/[-0-9a-f]+$/);
  // Several readings, so that the range selected below holds more than the last one.
  const address = page.url().replace("/vms/", "/api/v1/stats/");
  await expect.poll(async () => (await (await fetch(address)).json()).points.length, { timeout: 20_000 }).toBeGreaterThan(4);
  const ranges = page.getByRole("navigation", { name: "Time range" });
  await ranges.getByRole("link", { name: "5 min" }).click();
  await expect(page).toHaveURL(/range=5m/);
  await live(page);
  const chart = page.getByRole("img", { name: /^CPU: average/ });
  await expect(chart).toBeVisible();
  // A range selected with the mouse is zoomed into, with its own address.
  const box = (await chart.boundingBox())!;
  await page.mouse.move(box.x + box.width * 0.5, box.y + 20);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width - 1, box.y + 20, { steps: 4 });
  await page.mouse.up();
  await expect(page).toHaveURL(/from=\d+&to=\d+/);
  await expect(chart).toBeVisible();
  await page.goto(page.url().replace(/\?.*/, "?range=1y"));
  await expect(chart).toBeVisible();
  await page.goto(page.url().replace(/\?.*/, "?from=2001-01-01T00:00&to=2001-01-02T00:00"));
  await expect(page.getByText("No data in this time range")).toBeVisible();
  await page.goto(page.url().replace(/\?.*/, "?range=forever"));
  await expect(page.getByText("unknown range")).toBeVisible();
});

test("the overview counts machines, lists problems and updates live", async ({ page, demo }) => {
  await page.goto(demo.url);
  await live(page);
  const tiles = page.getByRole("navigation", { name: "Machines by state" });
  await expect(tiles.getByRole("link", { name: /Running/ })).toContainText("10");
  await expect(tiles.getByRole("link", { name: /Crashed/ })).toContainText("1");
  await expect(page.getByText("k3s-c on demo: guest crashed")).toBeVisible();
  await demo.command("demo", "dns-2", { kind: "start" });
  await expect(tiles.getByRole("link", { name: /Running/ })).toContainText("11");
  await expect(page.getByText(/\d\.\d CPUs/).first()).toBeVisible({ timeout: 15_000 });
  await tiles.getByRole("link", { name: /Crashed/ }).click();
  await expect(page).toHaveURL(/\/vms\?state=crashed/);
  await expect(row(page, "k3s-c")).toBeVisible();
});
