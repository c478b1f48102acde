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
