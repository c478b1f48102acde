// Parts of the program that pages fetch on demand.
import { type Page } from "@playwright/test";
import { expect, live, type Server, test } from "../support.ts";

const part = /\/pkg\/.*\/(split|chunk)_/;

test("the list loads without the other pages, which are fetched once it is live", async ({ page, demo }) => {
  const asked: string[] = [];
  page.on("request", (request) => asked.push(request.url()));
  const rest = page.waitForResponse((response) => /\/pkg\/.*\/split_other/.test(response.url()));
  await page.goto(`${demo.url}/vms`);
  await live(page);
  expect(asked.filter((url) => part.test(url))).toEqual([]);
  await rest;
  // Loaded parts are not fetched again.
  const before = asked.filter((url) => part.test(url)).length;
  await page.getByRole("link", { name: "Hosts", exact: false }).first().click();
  await expect(page.getByRole("heading", { name: "Hosts", level: 1 })).toBeVisible();
  expect(asked.filter((url) => part.test(url))).toHaveLength(before);
});

test("a page whose part fails to load reports it and offers a reload", async ({ page, demo, complaints }) => {
  await page.route(part, (route) => route.abort());
  await page.goto(`${demo.url}/vms`);
  await live(page);
  await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: /^Hosts/ }).click();
  await expect(page.getByRole("heading", { name: "This page failed to load" })).toBeVisible();
  await page.unroute(part);
  await page.getByRole("link", { name: "Reload the page" }).click();
  await expect(page.getByRole("heading", { name: "Hosts", level: 1 })).toBeVisible();
  await live(page);
  // The browser logs the failed fetch, at once or when the rest was fetched.
  expect(complaints.length).toBeGreaterThan(0);
  complaints.length = 0;
});

/** Opens the list and delays the program until the returned function is called. */
async function openWithoutProgram(page: Page, server: Server): Promise<() => void> {
  let come = () => {};
  const held = new Promise<void>((done) => (come = done));
  await page.route(/\.wasm$/, (route) => held.then(() => route.continue()));
  await page.goto(`${server.url}/vms`, { waitUntil: "commit" });
  return come;
}

test("selections and search text entered before hydration are kept", async ({ page, demo }) => {
  const come = await openWithoutProgram(page, demo);
  const bar = page.getByRole("group", { name: "Selected machines" });
  await expect(page.getByRole("checkbox", { name: "Select web-01" })).toBeVisible();
  await expect(bar).toBeHidden();
  await page.getByRole("checkbox", { name: "Select web-01" }).check();
  await page.getByRole("checkbox", { name: "Select web-02" }).check();
  await expect(bar).toBeVisible();
  await expect(page.getByText("2 selected", { exact: true })).toHaveCount(0);
  await page.getByLabel("Filter machines").fill("web");
  come();
  await live(page);
  await expect(page.getByText("2 selected", { exact: true })).toBeVisible();
  await expect(page.getByRole("checkbox", { name: "Select web-01" })).toBeChecked();
  await expect(page.getByLabel("Filter machines")).toHaveValue("web");
  await expect(page).toHaveURL(/q=web/);
  // From now on the program's state counts.
  await bar.getByRole("button", { name: "Clear" }).click();
  await expect(page.getByRole("checkbox", { name: "Select web-01" })).not.toBeChecked();
  await expect(bar).toBeHidden();
});

test("all shown machines can be selected before hydration", async ({ page, demo }) => {
  const come = await openWithoutProgram(page, demo);
  const all = page.getByRole("checkbox", { name: "Select all shown machines" });
  await all.check();
  come();
  await live(page);
  const count = await page.getByRole("table", { name: "Virtual machines" }).locator("tbody tr").count();
  expect(count).toBeGreaterThan(2);
  await expect(page.getByText(`${count} selected`)).toBeVisible();
  await expect(all).toBeChecked();
});
