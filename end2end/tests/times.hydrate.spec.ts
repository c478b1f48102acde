// Charts use the viewer's time zone, also after hydration.
import { expect, live, openList, row, test } from "../support.ts";

test.use({ timezoneId: "Asia/Kolkata" });
const OFFSET = 5.5 * 3600_000;
const clock = (at: number) => new Date(at).toISOString().slice(11, 19);

test("charts use the viewer's time zone", async ({ page, demo }) => {
  await openList(page, demo);
  await row(page, "web-01").getByRole("link", { name: "web-01" }).click();
  await live(page);
  // The server's rendering is converted as well.
  await page.reload();
  await live(page);
  const end = page.locator(".plot .times local-time").last();
  await expect(async () => {
    const [shown, at] = await end.evaluate((element) => [element.textContent, Number((element as HTMLElement).dataset.at)] as const);
    expect(shown).toBe(clock(at + OFFSET));
  }).toPass({ timeout: 5_000 });
});
