// Confirmations before something stops or is lost.
import { expect, live, press, test } from "../support.ts";

test("shutting down several machines asks with their list", async ({ page, demo, script }) => {
  await page.goto(`${demo.url}/vms?state=running`);
  await live(page);
  const names = ["web-01", "web-02"];
  for (const name of names) await page.getByLabel(`Select ${name}`).check();
  await page.getByRole("group", { name: "Selected machines" }).getByRole("button", { name: "Shut down" }).click();
  const asked = script ? page.getByRole("dialog") : page.locator(".ask");
  await expect(asked).toContainText("Shut down 2 machines?");
  await expect(asked).toContainText("is asked to shut down");
  for (const name of names) await expect(asked).toContainText(name);
  await asked.getByText("Cancel").click();
  await page.goto(`${demo.url}/vms?state=running`);
  for (const name of names) await expect(page.getByRole("link", { name, exact: true })).toBeVisible();
});

test("deleting a pool and its volumes lists them and requires its name", async ({ page, demo }) => {
  await page.goto(`${demo.url}/storage`);
  await page.getByRole("link", { name: "New pool" }).click();
  await page.getByLabel("Name", { exact: true }).fill("doomed");
  await page.getByLabel("Type").selectOption("dir");
  await page.getByLabel("Target path").fill("/srv/doomed");
  await live(page);
  await press(page, "Create pool");
  await page.getByRole("table", { name: "Storage pools" }).getByRole("link", { name: "doomed", exact: true }).click();
  await page.getByText("New volume").click();
  await page.getByLabel("Name", { exact: true }).first().fill("lost.raw");
  await page.getByLabel("Size", { exact: false }).first().fill("1");
  await live(page);
  await press(page, "Create volume");
  await expect(page.getByRole("table", { name: "Volumes" })).toContainText("lost.raw");
  await press(page, "Delete pool and its volumes");
  const asked = page.locator(".ask");
  await expect(asked.getByRole("heading")).toHaveText("Delete pool doomed and its volumes?");
  await expect(asked.getByRole("button")).toHaveText("Delete pool and its volumes");
  await expect(asked).toContainText("1 volume");
  await expect(asked).toContainText("lost.raw");
  await asked.getByLabel("Type doomed to confirm").fill("domed");
  await asked.getByRole("button").click();
  await expect(asked.getByLabel("Type doomed to confirm")).toBeVisible();
  await asked.getByLabel("Type doomed to confirm").fill("doomed");
  await asked.getByRole("button").click();
  await expect(page.getByRole("table", { name: "Storage pools" }).getByRole("link", { name: "doomed" })).toHaveCount(0);
});
