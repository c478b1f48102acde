// The parts of the program that pages fetch when they need them.
import { type Page } from "@playwright/test";
import { expect, live, type Server, test } from "../support.ts";

const part = /\/pkg\/.*\/(split|chunk)_/;

test("the list comes without the other pages, which follow once it is live", async ({ page, demo }) => {
  const asked: string[] = [];
  page.on("request", (request) => asked.push(request.url()));
  const rest = page.waitForResponse((response) => /\/pkg\/.*\/split_other/.test(response.url()));
  await page.goto(`${demo.url}/vms`);
  await live(page);
  expect(asked.filter((url) => part.test(url))).toEqual([]);
  await rest;
  // What is there is not asked for again.
  const before = asked.filter((url) => part.test(url)).length;
  await page.getByRole("link", { name: "Hosts", exact: false }).first().click();
  await expect(page.getByRole("heading", { name: "Hosts", level: 1 })).toBeVisible();
  expect(asked.filter((url) => part.test(url))).toHaveLength(before);
});

test("a page whose part does not come says so, and what to do", async ({ page, demo, complaints }) => {
  await page.route(part, (route) => route.abort());
  await page.goto(`${demo.url}/vms`);
  await live(page);
  await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: /^Hosts/ }).click();
  await expect(page.getByRole("heading", { name: "This page failed to load" })).toBeVisible();
  await page.unroute(part);
  await page.getByRole("link", { name: "Load the page again" }).click();
  await expect(page.getByRole("heading", { name: "Hosts", level: 1 })).toBeVisible();
  await live(page);
  // The browser tells of what did not come, at once or when the rest was asked for.
  expect(complaints.length).toBeGreaterThan(0);
  complaints.length = 0;
});

/** Opens the list and holds the program back until what this gives is called. */
async function openWithoutProgram(page: Page, server: Server): Promise<() => void> {
  let come = () => {};
  const held = new Promise<void>((done) => (come = done));
  await page.route(/\.wasm$/, (route) => held.then(() => route.continue()));
  await page.goto(`${server.url}/vms`, { waitUntil: "commit" });
  return come;
}

test("what is ticked and typed before the program is there counts, and stays", async ({ page, demo }) => {
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
  // What the program knows counts from now on.
  await bar.getByRole("button", { name: "Clear" }).click();
  await expect(page.getByRole("checkbox", { name: "Select web-01" })).not.toBeChecked();
  await expect(bar).toBeHidden();
});

test("all machines that are shown can be ticked before the program is there", async ({ page, demo }) => {
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
