// Sign-in, sign-out and permissions of roles, with and without JavaScript.
import { expect, list, logIn, row, test } from "../support.ts";

test("sign-in leads back to the requested page", async ({ page, demo }) => {
  await demo.account("root", "admin");
  await page.goto(`${demo.url}/vms?state=running`);
  await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();
  await expect(page.getByText("web-01")).toHaveCount(0);
  await expect(page.getByLabel("Password")).toHaveAttribute("autocomplete", "current-password");
  await logIn(page, "root", "not the right one");
  await expect(page.getByRole("alert")).toContainText("Wrong user name or password");
  await expect(page.getByLabel("Name")).toHaveValue("root");
  await logIn(page, "root");
  await expect(page).toHaveURL(/\/vms\?state=running$/);
  await expect(row(page, "web-01")).toBeVisible();
  await expect(page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Audit" })).toBeVisible();
  await page.getByLabel("Account root").click();
  await expect(page.getByText("Role: admin")).toBeVisible();
  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();
  await page.goto(`${demo.url}/vms`);
  await expect(list(page)).toHaveCount(0);
});

test("a viewer sees everything except the audit, and every action states why it is disabled", async ({ page, demo }) => {
  await demo.account("jane", "viewer");
  await page.goto(`${demo.url}/vms`);
  await logIn(page, "jane");
  const pause = row(page, "web-01").getByRole("button", { name: "Pause" });
  await expect(pause).toHaveAttribute("aria-disabled", "true");
  await expect(pause).toHaveAttribute("title", /Your role is viewer, which may not change anything/);
  await expect(page.getByRole("link", { name: "Audit" })).toHaveCount(0);
  await page.goto(`${demo.url}/audit`);
  await expect(page.getByRole("alert")).toContainText("may not read the audit log");
});

test("an account with a restricted scope is offered only permitted actions", async ({ page, demo }) => {
  await demo.account("jane", "operator", "--tag", "web");
  await page.goto(`${demo.url}/vms`);
  await logIn(page, "jane");
  await expect(row(page, "web-01")).toBeVisible();
  await expect(row(page, "mail")).toHaveCount(0);
  await page.goto(`${demo.url}/networks`);
  await expect(page.getByText("Your account's scope is #web")).toBeVisible();
  await expect(page.getByRole("link", { name: "New network" })).toHaveCount(0);
  await page.goto(`${demo.url}/networks/new`);
  await expect(page.getByText("Your account's scope is #web")).toBeVisible();
  await expect(page.getByRole("button", { name: "Create network" })).toHaveCount(0);
});

test("a sign-in link works once", async ({ page, demo }) => {
  await demo.account("root", "admin");
  const link = demo.verb(["login-link", "root"]);
  expect(link.startsWith(demo.url)).toBe(true);
  await page.goto(link);
  await page.getByRole("button", { name: "Sign in as root" }).click();
  await expect(page.getByRole("heading", { name: "Overview" })).toBeVisible();
  await page.goto(link);
  await expect(page.getByRole("alert")).toContainText("has been used");
});

test("a link on another site opens in the existing session", async ({ page, demo }) => {
  await demo.account("root", "admin");
  await page.goto(`${demo.url}/vms`);
  await logIn(page, "root");
  await expect(list(page)).toBeVisible();
  const elsewhere = demo.url.replace("127.0.0.1", "localhost");
  await page.route(`${elsewhere}/**`, (route) => route.fulfill({ contentType: "text/html", body: `<a href="${demo.url}/vms?q=web">Belvedere</a>` }));
  await page.goto(`${elsewhere}/page`);
  await page.getByRole("link", { name: "Belvedere" }).click();
  await expect(row(page, "web-01")).toBeVisible();
});
