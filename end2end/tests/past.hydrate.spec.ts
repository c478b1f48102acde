// The past in a page that is live: what is added, and the drawer of tasks.
import { busy, expect, expectState, live, openList, press, row, test } from "../support.ts";

test("what is added while one looks is offered, and going back shows the past again", async ({ page, demo }) => {
  await busy(demo);
  await page.goto(`${demo.url}/audit`);
  await live(page);
  await demo.command("demo", "web-01", { kind: "pause" });
  await page.getByRole("link", { name: "Show" }).click();
  await expect(page.getByRole("table", { name: "Audit" }).getByRole("rowheader").first()).toHaveText("Pause");
  // From the past to the list without loading a page, and back.
  await live(page);
  await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: /Virtual machines/ }).click();
  await expectState(page, "web-01", "Paused");
  await page.goBack();
  await expect(page.getByRole("table", { name: "Audit" }).getByRole("rowheader").first()).toHaveText("Pause");
});

test("the drawer shows what was just done", async ({ page, demo }) => {
  await openList(page, demo);
  await press(row(page, "web-01"), "Pause");
  await expectState(page, "web-01", "Paused");
  await page.locator("summary[aria-label='Tasks']").click();
  await expect(page.locator(".drawer")).toContainText(/Pause\s*web-01/);
  await expect(page.locator(".drawer")).toContainText("Succeeded");
});

test("a replay that plays goes on by itself until somebody pauses it", async ({ page, demo }) => {
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
  await expect(page.locator("[data-play]"), "nothing goes on by itself").toHaveCount(0);
  await link("Play").click();
  await expect(what).toContainText("dns-2: Stopped → Running");
  await expect(link("Play"), "there is nothing after the latest").toHaveCount(0);
});
