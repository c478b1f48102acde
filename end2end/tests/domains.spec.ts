// Lifecycle, filter and details, from the list and the detail page; with and without JavaScript.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, expectState, list, live, manyMachines, openList, press, row, Server, test } from "../support.ts";

test("the list shows every machine with its state", async ({ page, demo }) => {
  await openList(page, demo);
  const domains = (await demo.inventory()).hosts.demo.domains;
  await expect(list(page).getByRole("rowheader")).toHaveCount(domains.length);
  for (const [name, state] of [["web-01", "Running"], ["dns-2", "Stopped"], ["grafana", "Paused"], ["win11-build", "Suspended"], ["k3s-b", "Shutting down"], ["k3s-c", "Crashed"]]) {
    await expectState(page, name, state);
  }
});

test("a machine is paused, resumed, shut down and started from its row", async ({ page, demo }) => {
  await openList(page, demo);
  for (const [action, state] of [["Pause", "Paused"], ["Resume", "Running"], ["Shut down", "Stopped"], ["Start", "Running"]]) {
    await press(row(page, "web-01"), action);
    await expectState(page, "web-01", state);
  }
});

test("a disabled action says why and does nothing", async ({ page, demo }) => {
  await openList(page, demo);
  const start = row(page, "web-01").getByRole("button", { name: "Start", exact: true });
  await expect(start).toHaveAttribute("aria-disabled", "true");
  await expect(start).toHaveAttribute("title", /web-01 is already running/);
  // Playwright itself would wait until the button is enabled.
  await start.click({ force: true });
  await expect(page.getByText("web-01 is already running").first()).toBeVisible();
  await expectState(page, "web-01", "Running");
});

test("force off asks first, with the name and the consequence", async ({ page, demo, script }) => {
  await openList(page, demo);
  await row(page, "web-02").getByRole("link", { name: "web-02" }).click();
  await live(page);
  await page.locator("summary[aria-label='More actions']").click();
  await press(page, "Force off");
  await expect(page.getByRole("heading", { name: "Force off web-02?" })).toBeVisible();
  await expect(page.getByText("Unsaved data is lost").first()).toBeVisible();
  expect((await demo.inventory()).hosts.demo.domains.find((domain: any) => domain.name === "web-02").state).toBe("running");
  await press(script ? page.getByRole("dialog") : page, "Force off");
  await expect(page.locator(".head .state")).toHaveText("Stopped");
});

test("filter, search and sort order are part of the address", async ({ page, demo }) => {
  await openList(page, demo);
  await page.getByRole("link", { name: /^Stopped/ }).click();
  await expect(page).toHaveURL(/state=stopped/);
  await expect(list(page).getByRole("rowheader")).toHaveText([/dns-2/, /lab-bsd/, /template-debian/]);
  await list(page).getByRole("link", { name: "Name" }).click();
  await expect(page).toHaveURL(/sort=-name/);
  await expect(list(page).getByRole("rowheader")).toHaveText([/template-debian/, /lab-bsd/, /dns-2/]);
  await openList(page, demo, "?q=replica");
  await expect(list(page).getByRole("rowheader")).toHaveText([/db-replica/]);
});

test("searching narrows the list", async ({ page, demo }) => {
  await openList(page, demo);
  const filter = page.getByRole("searchbox", { name: "Filter machines" });
  await filter.fill("k3s");
  await filter.press("Enter");
  await expect(page).toHaveURL(/q=k3s/);
  await expect(list(page).getByRole("rowheader")).toHaveText([/k3s-a/, /k3s-b/, /k3s-c/]);
  await filter.fill("no such machine");
  await filter.press("Enter");
  await expect(page.getByRole("heading", { name: "No matching machines" })).toBeVisible();
});

test("a command runs on several machines, with a result for each", async ({ page, demo }) => {
  await openList(page, demo);
  for (const name of ["web-01", "web-02", "dns-2"]) {
    await page.getByRole("checkbox", { name: `Select ${name}`, exact: true }).check();
  }
  await press(page.getByRole("group", { name: "Selected machines" }), "Pause");
  await expectState(page, "web-01", "Paused");
  await expectState(page, "web-02", "Paused");
  await expectState(page, "dns-2", "Stopped");
  await expect(page.getByText("dns-2 is not running").first()).toBeVisible();
  // The same command would be refused again.
  await expect(page.getByRole("button", { name: "Try again" })).toHaveCount(0);
});

test("title, description, tags and name are changed on the machine's page", async ({ page, demo }) => {
  await openList(page, demo);
  await row(page, "dns-2").getByRole("link", { name: "dns-2" }).click();
  await live(page);
  const change = async (label: string, value: string) => {
    const box = page.locator("details.edit").filter({ has: page.locator("summary", { hasText: new RegExp(`^Change ${label}$`) }) });
    await box.locator("summary").click();
    await box.getByRole("textbox").fill(value);
    await box.getByRole("button").click();
  };
  await change("title", "Second name server");
  await expect(page.locator("dd", { hasText: "Second name server" })).toBeVisible();
  await change("tags", "ops, dns");
  await expect(page.locator("dd", { hasText: "dns, ops" })).toBeVisible();
  await change("description", "First line\n<b>second</b> line");
  await expect(page.locator("dd .prose")).toHaveText("First line\n<b>second</b> line");
  await change("name", "ns-2");
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("ns-2");
  await press(page, "Turn autostart on");
  await expect(page.getByRole("button", { name: "Turn autostart off" })).toBeVisible();
});

test("devices and definition have their own pages", async ({ page, demo }) => {
  await openList(page, demo);
  await row(page, "win11-build").getByRole("link", { name: "win11-build" }).click();
  await page.getByRole("link", { name: "Devices" }).click();
  await expect(page.getByRole("table", { name: "Disks" }).getByRole("row", { name: /virtio-win\.iso/ })).toContainText("read-only");
  await expect(page.getByRole("table", { name: "Boot order" }).getByRole("row", { name: "1 hd" })).toBeVisible();
  await expect(page.getByRole("table", { name: "Other devices" }).getByRole("rowheader", { name: "Video" })).toBeVisible();
  await page.getByRole("link", { name: "XML" }).click();
  await expect(page.locator("pre.xml")).toContainText("<name>win11-build</name>");
});

test("names with markup, quotes and emoji are shown as they are", async ({ page, demo }) => {
  const hostile = `<img src=x onerror="document.title='owned'"> 'q' & 😀`;
  await demo.command("demo", "dns-2", { kind: "rename", name: hostile });
  await demo.command("demo", "web-01", { kind: "setTitle", title: "<b>bold</b>" });
  await expect.poll(async () => JSON.stringify(await demo.inventory())).toContain("<b>bold</b>");
  await openList(page, demo);
  await expect(row(page, hostile)).toBeVisible();
  await expect(list(page).locator("img, b")).toHaveCount(0);
  await row(page, hostile).getByRole("link", { name: hostile, exact: true }).click();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText(hostile);
  await expect(page).not.toHaveTitle("owned");
});

test("the theme is changed and remembered", async ({ page, demo }) => {
  await page.emulateMedia({ colorScheme: "light" });
  await openList(page, demo);
  await press(page, "Dark theme");
  await expect(page.locator("html")).toHaveAttribute("data-theme", "dark");
  await page.reload();
  await expect(page.locator("html")).toHaveAttribute("data-theme", "dark");
  await expect(page.getByRole("button", { name: "Light theme" })).toBeVisible();
});

test("the page is marked as a snapshot without JavaScript and as live with it", async ({ page, demo, script }) => {
  await openList(page, demo);
  const snapshot = page.getByText("This page is a snapshot taken at");
  if (script) {
    await expect(snapshot).toBeHidden();
    await expect(page.getByRole("status")).toHaveText("Live");
  } else {
    await expect(snapshot).toBeVisible();
  }
  await expect(page.getByText("The host demo uses libvirt's test driver")).toBeVisible();
});

test("an unknown page shows an error and a link back", async ({ page, demo }) => {
  await page.goto(`${demo.url}/nonsense`);
  await expect(page.getByRole("heading", { name: "Page not found" })).toBeVisible();
  await page.getByRole("link", { name: "See all virtual machines" }).click();
  await expect(list(page)).toBeVisible();
});

test("a long list is rendered in pages, and every row is reachable", async ({ page, script }) => {
  const folder = mkdtempSync(join(tmpdir(), "bv-"));
  const server = await new Server(["--connect", `many=${manyMachines(225, folder)}`]).start();
  await openList(page, server);
  const rows = list(page).locator("tbody tr");
  await expect(rows).toHaveCount(30);
  const more = page.getByRole("link", { name: "Show more" });
  if (script) {
    // It grows as its end is approached, up to the whole list.
    for (const drawn of [60, 90, 120, 150, 180, 210, 225]) {
      await page.getByRole("navigation", { name: "Pagination" }).scrollIntoViewIfNeeded();
      await expect(rows).toHaveCount(drawn);
    }
    await expect(more).toHaveCount(0);
    // Back restores the position, after navigation and after a reload.
    const place = rows.nth(170);
    await place.scrollIntoViewIfNeeded();
    await expect(place).toBeInViewport();
    for (const again of [false, true]) {
      await place.getByRole("link", { name: /vm-0/ }).click();
      await expect(page.getByRole("heading", { name: /vm-0/ })).toBeVisible();
      if (again) await page.reload();
      await page.goBack();
      await expect(place).toBeInViewport();
    }
    // Another view starts at its top.
    await page.getByRole("link", { name: /^Running/ }).click();
    await expect(page).toHaveURL(/state=running/);
    await expect(rows).toHaveCount(30);
    await page.goBack();
    await expect(rows, "as many rows as before").toHaveCount(225);
    await page.getByRole("checkbox", { name: "Select all shown machines" }).check();
    await expect(page.getByText("225 selected", { exact: true })).toBeVisible();
  } else {
    await more.click();
    await expect(page).toHaveURL(/page=2/);
    await expect(page.getByText("31 to 60 of 225 machines")).toBeVisible();
    await openList(page, server, "?page=8");
    await expect(rows).toHaveCount(15);
    await page.getByRole("link", { name: "Previous page" }).click();
    await expect(page).toHaveURL(/page=7/);
  }
  await openList(page, server, "?q=vm-0224");
  await expect(rows).toHaveCount(1);
  await server.stop();
  rmSync(folder, { recursive: true });
});

test("a lost host is reconnected from the page", async ({ page, script }) => {
  const folder = mkdtempSync(join(tmpdir(), "bv-"));
  const server = await new Server(["--demo", "--connect", `late=test://${folder}/node-3.xml`]).start();
  await openList(page, server);
  const answer = page.waitForResponse((response) => response.request().method() === "POST");
  await press(page, "Reconnect now");
  expect((await answer).status()).toBe(script ? 202 : 303);
  await expect(page.getByText("late: not connected")).toBeVisible();
  // The error log has one entry, however often it was tried.
  const log = page.getByRole("table", { name: "Errors" }).getByRole("row", { name: /late is not connected: Failed to open file/ });
  await expect(async () => {
    await page.goto(`${server.url}/history/errors?severity=error`);
    await expect(log).toHaveCount(1, { timeout: 500 });
  }).toPass({ timeout: 10_000 });
  await openList(page, server);
  manyMachines(3, folder);
  // The server's own next attempt may come first; then the button is gone.
  const button = page.getByRole("button", { name: "Reconnect now", exact: true });
  await button.click({ timeout: 5_000 }).catch(() => "it is back already");
  await expectState(page, "vm-0001", "Running");
  await server.stop();
  rmSync(folder, { recursive: true });
});

test("a demo machine states why its console is unavailable", async ({ page, demo }) => {
  const { id } = (await demo.inventory()).hosts.demo.domains.find((domain: any) => domain.name === "web-01");
  await page.goto(`${demo.url}/vms/demo/${id}/console`);
  await expect(page.getByText("which provides no consoles")).toBeVisible();
});
