// Menus open above everything, also in the last row of a scrolling table, wide and narrow.
import { expect, live, row, test } from "../support.ts";

for (const width of [1440, 390]) {
  test(`the menu of the last volume is fully visible at ${width} px and closes on Escape and on a click elsewhere`, async ({ page, demo }) => {
    await page.setViewportSize({ width, height: 700 });
    await page.goto(`${demo.url}/storage`);
    await page.getByRole("table", { name: "Storage pools" }).getByRole("link", { name: "images", exact: true }).click();
    await live(page);
    const row = page.getByRole("table", { name: "Volumes" }).getByRole("row").last();
    const more = row.locator("summary");
    await more.scrollIntoViewIfNeeded();
    await more.click();
    for (const name of [/^Resize /, /^Clone /, /^Wipe /, /^Delete /]) {
      const button = row.getByRole("button", { name });
      // Playwright's click would scroll; a mouse click needs the button to be visible.
      const seen = () => button.evaluate((element) => {
        const box = element.getBoundingClientRect();
        const at = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
        return element.contains(at) && box.left >= 0 && box.right <= innerWidth && box.bottom <= innerHeight;
      });
      // The toggle event comes a moment later, and only then the menu is positioned.
      await expect.poll(seen, String(name)).toBe(true);
    }
    const menu = row.locator("details.menu");
    await page.keyboard.press("Escape");
    await expect(menu).not.toHaveAttribute("open");
    await expect(more).toBeFocused();
    await more.click();
    await expect(menu).toHaveAttribute("open");
    await page.mouse.click(2, 350);
    await expect(menu).not.toHaveAttribute("open");
  });
}

test("only one menu is open at a time", async ({ page, demo }) => {
  await page.goto(`${demo.url}/vms`);
  await live(page);
  await page.getByRole("link", { name: "web-01", exact: true }).first().click();
  await live(page);
  const menus = page.locator("details.menu[open]");
  await page.getByLabel("More actions").click();
  await expect(menus).toHaveCount(1);
  await page.getByLabel("Tasks").click();
  await expect(menus).toHaveCount(1);
  await page.keyboard.press("Escape");
  await expect(menus).toHaveCount(0);
  // Its own action closes it as well.
  await page.getByLabel("More actions").click();
  await menus.getByRole("button", { name: /^Reset/ }).click();
  await expect(page.getByRole("dialog")).toBeVisible();
  await expect(menus).toHaveCount(0);
});

test("a notice does not cover the clicked button, at the top or the bottom", async ({ page, demo }) => {
  await page.setViewportSize({ width: 390, height: 700 });
  await page.goto(`${demo.url}/vms`);
  await live(page);
  for (const place of ["end", "start"] as const) {
    const button = row(page, "web-02").getByRole("button", { name: /Pause|Resume/ }).and(page.locator(":not([aria-disabled])")).first();
    await button.evaluate((element, block) => element.scrollIntoView({ block }), place);
    const box = await button.boundingBox();
    await page.mouse.click(box!.x + 4, box!.y + 4);
    // The notice is rendered again when the command has ended.
    await expect.poll(async () => {
      const told = await page.getByRole("region", { name: "Notices" }).locator("article").last().boundingBox();
      return told && (told.y > box!.y + box!.height || told.y + told.height < box!.y);
    }, place).toBe(true);
  }
});
