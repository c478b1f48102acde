// Journal pages in a live page: new entries, and the drawer of tasks.
import { busy, expect, expectState, live, openList, press, row, test } from "../support.ts";

test("new records are offered as a link, and Back shows the audit again", async ({ page, demo }) => {
  await busy(demo);
  await page.goto(`${demo.url}/audit`);
  await live(page);
  await demo.command("demo", "web-01", { kind: "pause" });
  await page.getByRole("link", { name: "Show" }).click();
  await expect(page.getByRole("table", { name: "Audit" }).getByRole("rowheader").first()).toHaveText("Pause");
  // To the list without a page load, and back.
  await live(page);
  await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: /Virtual machines/ }).click();
  await expectState(page, "web-01", "Paused");
  await page.goBack();
  await expect(page.getByRole("table", { name: "Audit" }).getByRole("rowheader").first()).toHaveText("Pause");
});

test("the drawer shows recent tasks", async ({ page, demo }) => {
  await openList(page, demo);
  await press(row(page, "web-01"), "Pause");
  await expectState(page, "web-01", "Paused");
  await page.locator("summary[aria-label='Tasks']").click();
  await expect(page.locator(".drawer")).toContainText(/Pause\s*web-01/);
  await expect(page.locator(".drawer")).toContainText("Succeeded");
});

test("a playing replay continues until it is paused", async ({ page, demo }) => {
  await busy(demo);
  const what = page.locator("main .moment");
  const link = (name: string) => page.locator("main").getByRole("link", { name, exact: true });
  await expect(async () => {
    await page.goto(`${demo.url}/history/replay`);
    await expect(what).toContainText("dns-2: Stopped → Running", { timeout: 500 });
  }).toPass();
  await link("Previous").click();
  await link("Previous").click();
  await expect(what).toContainText("web-01: Running → Paused");
  await link("Play").click();
  await expect(what).toContainText("web-01: Paused → Running");
  await link("Pause").click();
  await expect(link("Play")).toBeVisible();
  await expect(page.locator("[data-play]"), "the replay does not continue").toHaveCount(0);
  await link("Play").click();
  await expect(what).toContainText("dns-2: Stopped → Running");
  await expect(link("Play"), "there is nothing after the latest event").toHaveCount(0);
});
