// Usage and charts as rendered by the server, with and without JavaScript.
import { expect, row, test } from "../support.ts";

test("usage, charts and the overview are rendered by the server", async ({ page, demo }) => {
  await expect(async () => {
    await page.goto(`${demo.url}/vms`);
    await expect(row(page, "web-01").locator("[data-label=CPU]")).toHaveText(/^\d+ %$/, { timeout: 500 });
  }).toPass();
  await expect(row(page, "web-01").locator("[data-label=Memory]")).toHaveText("4 GiB allocated");
  await row(page, "web-01").getByRole("link", { name: "web-01" }).click();
  for (const name of ["CPU", "Memory", "Disk", "Network"]) {
    await expect(page.getByRole("img", { name: new RegExp(`^${name}: .*latest`) })).toBeVisible();
  }
  await page.getByRole("navigation", { name: "Time range" }).getByRole("link", { name: "1 h", exact: true }).click();
  await expect(page.getByRole("img", { name: /^CPU: average latest/ })).toBeVisible();
  await page.goto(demo.url);
  await expect(page.getByRole("navigation", { name: "Machines by state" }).getByRole("link", { name: /Running/ })).toContainText("10");
  await expect(page.getByText("k3s-c on demo: guest crashed")).toBeVisible();
});
