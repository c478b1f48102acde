// Times are shown in the viewer's time zone, with UTC on hover; without JavaScript they are marked as
// UTC.
import { busy, expect, test } from "../support.ts";

// Half an hour off, and another day for much of the time.
test.use({ timezoneId: "Asia/Kolkata" });
const OFFSET = 5.5 * 3600_000;
const text = (at: number, from = 0, to = 19) => new Date(at).toISOString().replace("T", " ").slice(from, to);

test("lists, timelines and date filters use the viewer's time zone", async ({ page, demo, script }) => {
  await busy(demo);
  await page.goto(`${demo.url}/audit`);
  const time = page.getByRole("table", { name: "Audit" }).locator("time").first();
  const at = Number(await time.locator("local-time").getAttribute("data-at"));
  expect(Math.abs(at - Date.now())).toBeLessThan(60_000);
  await expect(time).toHaveText(text(script ? at + OFFSET : at));
  await expect(time).toHaveAttribute("datetime", `${text(at).replace(" ", "T")}Z`);
  await expect(page.getByRole("columnheader", { name: "Time" })).toHaveText(script ? "Time" : "Time (UTC)", { useInnerText: true });
  if (script) await expect(time.locator("local-time")).toHaveAttribute("title", `${text(at)} UTC`);

  // Input is in the viewer's time zone, the address holds UTC, and the field shows the input again.
  const wished = text((script ? at + OFFSET : at) - 3600_000, 0, 16).replace(" ", "T");
  await page.getByLabel(script ? "From" : "From (UTC)").fill(wished);
  await page.getByRole("button", { name: "Filter" }).click();
  await expect(page).toHaveURL((url) => url.searchParams.get("from") === text(at - 3600_000, 0, 16).replace(" ", "T"));
  await expect(page.getByLabel(script ? "From" : "From (UTC)")).toHaveValue(wished);
  await expect(page.getByRole("table", { name: "Audit" }).getByRole("row")).toHaveCount(6);

  await page.goto(`${demo.url}/history`);
  const lines = page.getByRole("list", { name: "Events" });
  const last = Number(await lines.locator("local-time").first().getAttribute("data-at"));
  await expect(lines.locator(".day").first()).toHaveText(text(script ? last + OFFSET : last, 0, 10));
  await expect(lines.locator("local-time").first()).toHaveText(text(script ? last + OFFSET : last, 11, 19));
});
