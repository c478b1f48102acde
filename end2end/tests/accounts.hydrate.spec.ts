// An open page whose account is removed, and accessibility of the account pages.
import AxeBuilder from "@axe-core/playwright";
import { expect, live, logIn, test } from "../support.ts";

test("a page whose session has ended reports it and leads to sign-in", async ({ page, demo }) => {
  await demo.account("jane", "operator");
  await page.goto(`${demo.url}/vms`);
  await logIn(page, "jane");
  await live(page);
  demo.verb(["user", "add", "root", "--role", "admin"]);
  demo.verb(["user", "remove", "jane"]);
  await expect(page.getByRole("status")).toContainText("signed out", { timeout: 40_000 });
  await page.getByRole("button", { name: "Sign in again" }).click();
  await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();
});

test("the sign-in page is accessible, light and dark, wide and narrow", async ({ page, demo }) => {
  await demo.account("root", "admin");
  for (const colorScheme of ["light", "dark"] as const) {
    for (const width of [1400, 390]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 900 });
      await page.goto(`${demo.url}/login`);
      await logIn(page, "root", "not the right one");
      const { violations } = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]).analyze();
      expect(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`)).toEqual([]);
    }
  }
});

test("the account pages are accessible, light and dark, wide and narrow", async ({ page, demo }) => {
  test.setTimeout(120_000);
  await demo.account("root", "admin");
  demo.verb(["user", "add", "jane", "--role", "viewer", "--host", "demo", "--tag", "web"]);
  demo.verb(["token", "create", "ci", "--role", "viewer"]);
  await page.goto(`${demo.url}/account`);
  await logIn(page, "root");
  for (const colorScheme of ["light", "dark"] as const) {
    for (const width of [1400, 390]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 900 });
      for (const path of ["/account", "/account/users", "/account/tokens", "/account/sessions"]) {
        await page.goto(demo.url + path);
        await live(page);
        const { violations } = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]).analyze();
        expect(violations.map(({ id, nodes }) => `${path}: ${id}: ${nodes[0].html}`)).toEqual([]);
        expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), `${path} is not wider than the window`).toBeLessThanOrEqual(0);
      }
    }
  }
});
