// Hosts that an admin adds, tests and removes while the server runs, with and without JavaScript.
import { expect, logIn, test } from "../support.ts";

test("an admin adds a host, is told what is wrong with a URI, and removes it again", async ({ page, demo }) => {
  await demo.account("root", "admin");
  await page.goto(`${demo.url}/hosts`);
  await logIn(page, "root");
  await page.getByRole("link", { name: "Manage hosts" }).click();
  const add = page.getByRole("region", { name: "Add host" });
  const table = page.getByRole("table", { name: "Hosts" });
  await expect(table.getByRole("row", { name: /demo/ })).toContainText("Demonstration");
  await add.getByLabel("Name").fill("far");
  await add.getByLabel("Connection URI").fill("qemu+ssh://far/system?command=/tmp/x");
  await add.getByRole("button", { name: "Add host" }).click();
  await expect(page.getByText(/the parameter command is not allowed here/).first()).toBeVisible();
  await expect(add.getByLabel("Name")).toHaveValue("far");
  await expect(add.getByLabel("Connection URI")).toHaveValue("qemu+ssh://far/system?command=/tmp/x");
  await add.getByLabel("Connection URI").fill("qemu+tcp://127.0.0.1:1/system");
  await add.getByRole("button", { name: "Test connection" }).click();
  await expect(page.locator("small.wrong").filter({ hasText: /refused|connect|reach/i })).toBeVisible();
  await add.getByRole("button", { name: "Add host" }).click();
  const far = table.getByRole("row", { name: /far/ });
  await expect(far).toContainText("Not connected");
  await page.goto(`${demo.url}/hosts`);
  await expect(page.getByRole("region", { name: "far", exact: true })).toContainText("not connected");
  await page.getByRole("link", { name: "Manage hosts" }).click();
  await far.getByRole("button", { name: "Remove far" }).click();
  await expect(page.getByRole("heading", { name: "Remove far?" })).toBeVisible();
  await page.getByRole("button", { name: "Remove" }).click();
  await expect(page.getByRole("heading", { name: "Manage hosts" })).toBeVisible();
  await expect(far).toHaveCount(0);
});

test("the reference of the API lists the routes with their fields and a curl line", async ({ page, demo }) => {
  await page.goto(`${demo.url}/about`);
  await page.getByRole("link", { name: "API reference" }).click();
  await expect(page.getByRole("heading", { name: "API", exact: true })).toBeVisible();
  const list = page.locator("#getDomains");
  await list.locator("summary").click();
  await expect(list.getByRole("table", { name: "Parameters" }).getByRole("row", { name: /sort/ })).toBeVisible();
  await expect(list).toContainText('curl -H "Authorization: Bearer $TOKEN" "$SERVER/api/v1/domains"');
  await list.getByRole("link", { name: "DomainPage" }).click();
  await expect(page).toHaveURL(/#schema-DomainPage$/);
});
