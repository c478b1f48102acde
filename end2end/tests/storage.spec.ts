// Storage: pools and volumes are shown, created, changed and deleted, with and without JavaScript.
import { expect, live, press, refused, test, type Server } from "../support.ts";
import type { Page } from "@playwright/test";

const pools = (page: Page) => page.getByRole("table", { name: "Storage pools" });
const volumes = (page: Page) => page.getByRole("table", { name: "Volumes" });
const rowOf = (page: Page, table: "pools" | "volumes", name: string) =>
  (table === "pools" ? pools(page) : volumes(page)).getByRole("row").filter({ has: page.getByRole("rowheader").getByText(name, { exact: true }) });

async function openPool(page: Page, demo: Server, name: string): Promise<void> {
  await page.goto(`${demo.url}/storage`);
  await pools(page).getByRole("link", { name, exact: true }).click();
  await expect(page.getByRole("heading", { name, exact: true, level: 1 })).toBeVisible();
  await live(page);
}

/** Expects success, as a notice or as a result of the form. */
async function done(page: Page, script: boolean, text: string | RegExp): Promise<void> {
  const where = script ? page.getByRole("region", { name: "Notices" }) : page.getByRole("list", { name: "Results" });
  await expect(where).toContainText(text);
}

test("a pool is created, stopped, started and deleted", async ({ page, demo, script }) => {
  await page.goto(`${demo.url}/storage`);
  await expect(page).toHaveTitle("Storage · Belvedere");
  await expect(rowOf(page, "pools", "images")).toContainText("Running");
  await page.getByRole("link", { name: "New pool" }).click();
  await page.getByLabel("Name", { exact: true }).fill("backup");
  await page.getByLabel("Type").selectOption("dir");
  if (script) await expect(page.getByPlaceholder("e.g. vg0")).toBeHidden();
  await page.getByLabel("Target path").fill("/srv/backup");
  await press(page, "Create pool");
  await expect(page.getByRole("list", { name: "Results" })).toContainText("backup is created");
  const row = rowOf(page, "pools", "backup");
  await expect(row).toContainText("Running");
  await expect(row).toContainText("on");
  await press(row, "Stop backup");
  await expect(page.getByRole("heading", { name: /Stop pool backup/ })).toBeVisible();
  await press(page, "Stop pool");
  await expect(rowOf(page, "pools", "backup")).toContainText("Stopped");
  await live(page);
  await press(rowOf(page, "pools", "backup"), "Start backup");
  await done(page, script, "backup is started");
  await expect(rowOf(page, "pools", "backup")).toContainText("Running");
  await pools(page).getByRole("link", { name: "backup" }).click();
  await press(page, "Delete pool");
  await expect(page.getByText("Its volumes and their data are kept")).toBeVisible();
  await press(page, "Delete pool");
  await page.goto(`${demo.url}/storage`);
  await expect(rowOf(page, "pools", "images")).toBeVisible();
  await expect(rowOf(page, "pools", "backup")).toHaveCount(0);
});

test("volumes are created, cloned and deleted, but not while in use", async ({ page, demo, script }) => {
  await openPool(page, demo, "images");
  await expect(rowOf(page, "volumes", "web-01.qcow2")).toContainText("20 GiB");
  await expect(rowOf(page, "volumes", "web-01.qcow2").getByRole("link", { name: "web-01" })).toBeVisible();
  await page.getByText("New volume").click();
  await page.getByLabel("Name", { exact: true }).first().fill("fresh.qcow2");
  await page.getByLabel("Size", { exact: false }).first().fill("1.5");
  await press(page, "Create volume");
  await done(page, script, "images/fresh.qcow2 is created");
  await expect(rowOf(page, "volumes", "fresh.qcow2")).toContainText("1.5 GiB");
  await rowOf(page, "volumes", "fresh.qcow2").getByLabel("Actions for fresh.qcow2").click();
  await page.getByLabel(/Name of the copy/).locator("visible=true").fill("copy.qcow2");
  await press(page, "Clone fresh.qcow2");
  await done(page, script, "is cloned");
  await expect(rowOf(page, "volumes", "copy.qcow2")).toBeVisible();
  await rowOf(page, "volumes", "copy.qcow2").getByLabel("Actions for copy.qcow2").click();
  await press(page, "Delete copy.qcow2");
  await press(page, "Delete volume");
  await expect(rowOf(page, "volumes", "fresh.qcow2")).toBeVisible();
  await expect(rowOf(page, "volumes", "copy.qcow2")).toHaveCount(0);
  // A volume in use by a machine cannot be deleted, and the button names the machine.
  await rowOf(page, "volumes", "web-01.qcow2").getByLabel("Actions for web-01.qcow2").click();
  const button = page.getByRole("button", { name: "Delete web-01.qcow2" });
  await expect(button).toHaveAttribute("aria-disabled", "true");
  await expect(button).toHaveAttribute("title", /in use by web-01/);
});

test("invalid input is reported at its field, and nothing is created", async ({ page, demo, script }) => {
  await openPool(page, demo, "images");
  const wrong = async (name: string, size: string, why: RegExp) => {
    if (!(await page.getByLabel("Name", { exact: true }).first().isVisible())) await page.getByText("New volume").click();
    await page.getByLabel("Name", { exact: true }).first().fill(name);
    await page.getByLabel("Size", { exact: false }).first().fill(size);
    await press(page, "Create volume");
    await refused(page, script, why);
    // The input is kept in the open form, with the error beside it.
    await expect(page.getByLabel("Name", { exact: true }).first()).toHaveValue(name);
    await expect(page.getByLabel("Size", { exact: false }).first()).toHaveValue(size);
    await expect(page.locator("small.wrong")).toHaveText(why);
  };
  await wrong("../etc/passwd", "1", /must be 1 to 200 bytes/);
  await wrong("a.qcow2", "much", /must be a number/);
  await wrong("a.qcow2", "-3", /must be greater than 0/);
  // Once corrected in place, the volume is created.
  await page.getByLabel("Size", { exact: false }).first().fill("1");
  await page.getByLabel("Name", { exact: true }).first().fill("b.qcow2");
  await press(page, "Create volume");
  await expect(rowOf(page, "volumes", "b.qcow2")).toBeVisible();
  await expect(rowOf(page, "volumes", "a.qcow2")).toHaveCount(0);
});

test("invalid clones and pools are refused with the reason", async ({ page, demo, script }) => {
  const volume = async (name: string, label: RegExp | string, value: string, button: string, why: RegExp) => {
    await openPool(page, demo, "images");
    await rowOf(page, "volumes", name).getByLabel(`Actions for ${name}`).click();
    await page.getByLabel(label).locator("visible=true").fill(value);
    await press(page, button);
    await refused(page, script, why);
  };
  await volume("template-debian.qcow2", /Name of the copy/, "../x", "Clone template-debian.qcow2", /must be 1 to 200 bytes/);
  await volume("template-debian.qcow2", /Name of the copy/, "template-debian.qcow2", "Clone template-debian.qcow2", /must differ from the name of the original/);
  const pool = async (name: string, path: string, why: RegExp) => {
    await page.goto(`${demo.url}/storage/new`);
    await page.getByLabel("Name", { exact: true }).fill(name);
    await page.getByLabel("Type").selectOption("dir");
    await page.getByLabel("Target path").fill(path);
    await live(page);
    await press(page, "Create pool");
    await refused(page, script, why);
    await expect(page.getByLabel("Target path")).toHaveValue(path);
    await expect(page.getByLabel("Type")).toHaveValue("dir");
  };
  await pool("wrong", "srv", /absolute path/);
  await pool("wrong", "", /absolute path/);
  await pool("a/b", "/srv/x", /letters/);
  await pool("images", "/srv/x", /images/);
  await page.goto(`${demo.url}/storage`);
  await expect(rowOf(page, "pools", "wrong")).toHaveCount(0);
});

test("the volume list is filtered and sorted by its address", async ({ page, demo }) => {
  await openPool(page, demo, "images");
  await page.getByLabel("Filter volumes").fill("k3s");
  await page.getByLabel("Filter volumes").press("Enter");
  await expect(page).toHaveURL(/q=k3s/);
  await expect(volumes(page).getByRole("rowheader")).toHaveCount(3);
  await page.goto(page.url().replace(/\?.*/, "?sort=-size"));
  await expect(volumes(page).getByRole("columnheader", { name: "Capacity" })).toHaveAttribute("aria-sort", "descending");
  await page.goto(`${demo.url}/storage/demo/00000000-0000-4000-8000-000000000000`);
  await expect(page.getByRole("heading", { name: "Storage pool not found" })).toBeVisible();
});
