// Live pages: changes from elsewhere, tabs, lost streams, keyboard.
import { type Page } from "@playwright/test";
import { expect, expectState, list, live, openList, press, row, Server, test, watch } from "../support.ts";

test("a change made elsewhere appears without a reload, and only its row is updated", async ({ page, demo }) => {
  await openList(page, demo);
  await page.evaluate(() => {
    const changed: string[] = ((window as any).changed = []);
    new MutationObserver((records) => {
      for (const record of records) {
        const node = record.target instanceof Element ? record.target : record.target.parentElement;
        changed.push(node?.closest("tr")?.querySelector("th a")?.textContent ?? "");
      }
    }).observe(document.querySelector("table tbody")!, { subtree: true, childList: true, characterData: true, attributes: true });
  });
  await demo.command("demo", "web-01", { kind: "pause" });
  await expectState(page, "web-01", "Paused");
  const changed = new Set(await page.evaluate(() => (window as any).changed));
  expect([...changed]).toEqual(["web-01"]);
});

test("a batch command runs only on selected machines that are shown", async ({ page, demo }) => {
  await openList(page, demo);
  await row(page, "web-01").getByRole("checkbox").check();
  await page.getByLabel("Filter machines").fill("db-primary");
  await expect(row(page, "web-01")).toHaveCount(0);
  await row(page, "db-primary").getByRole("checkbox").check();
  await expect(page.getByText("1 selected", { exact: true })).toBeVisible();
  await press(page.getByRole("group", { name: "Selected machines" }), "Pause");
  await expectState(page, "db-primary", "Paused");
  await page.getByLabel("Filter machines").fill("");
  // The earlier selection is kept, and the command did not run on it.
  await expect(page.getByText("2 selected", { exact: true })).toBeVisible();
  await expectState(page, "web-01", "Running");
});

test("a notice reports the result of an action", async ({ page, demo }) => {
  await openList(page, demo);
  await press(row(page, "web-01"), "Pause");
  await expect(page.getByRole("region", { name: "Notices" }).getByText(/web-01 is paused \(\d/)).toBeVisible();
});

test("an action refused by libvirt is reported with the reason", async ({ page, demo }) => {
  await openList(page, demo);
  await row(page, "dns-2").getByRole("link", { name: "dns-2" }).click();
  const box = page.locator("details.edit").filter({ hasText: "Change name" });
  await box.locator("summary").click();
  await box.getByRole("textbox").fill("mail");
  await box.getByRole("button").click();
  await expect(page.getByRole("region", { name: "Notices" })).toContainText(/name/);
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("dns-2");
});

test("a failed action can be retried once its cause is resolved", async ({ page, demo }) => {
  await openList(page, demo);
  await row(page, "dns-2").getByRole("link", { name: "dns-2" }).click();
  const box = page.locator("details.edit").filter({ hasText: "Change name" });
  await box.locator("summary").click();
  await box.getByRole("textbox").fill("template-debian");
  await box.getByRole("button").click();
  const again = page.getByRole("region", { name: "Notices" }).getByRole("button", { name: "Try again" });
  await expect(again).toBeVisible();
  await demo.command("demo", "template-debian", { kind: "rename", name: "template-old" });
  await expect.poll(async () => (await demo.inventory()).hosts.demo.domains.some((domain: any) => domain.name === "template-old")).toBe(true);
  await again.click();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("template-debian");
});

test("many tabs over HTTP/1.1 share one stream and are all live", async ({ browser, demo, complaints }) => {
  const context = await browser.newContext();
  const pages: Page[] = [];
  for (let tab = 0; tab < 10; tab++) {
    const page = await context.newPage();
    watch(page, complaints);
    await openList(page, demo);
    pages.push(page);
  }
  await press(row(pages[9], "web-01"), "Pause");
  for (const page of pages) await expectState(page, "web-01", "Paused");
  await pages[0].close();
  await demo.command("demo", "web-01", { kind: "resume" });
  for (const page of pages.slice(1)) await expectState(page, "web-01", "Running");
  await context.close();
});

for (const missing of [[], ["SharedWorker"], ["SharedWorker", "BroadcastChannel"]]) {
  const without = missing.length ? `without ${missing.join(" and ")}` : "with all browser features";
  test(`tabs are live outside a secure context, ${without}`, async ({ browser, complaints }) => {
    const server = await new Server(["--demo", "--allow-host", "belvedere.test"]).start();
    const context = await browser.newContext();
    await context.addInitScript((names: string[]) => names.forEach((name) => delete (window as any)[name]), missing);
    const address = server.url.replace("127.0.0.1", "belvedere.test");
    const pages: Page[] = [];
    for (let tab = 0; tab < 3; tab++) {
      const page = await context.newPage();
      watch(page, complaints);
      await page.goto(`${address}/vms`);
      await live(page);
      expect(await page.evaluate(() => window.isSecureContext)).toBe(false);
      pages.push(page);
    }
    await press(row(pages[0], "web-01"), "Pause");
    for (const page of pages) await expectState(page, "web-01", "Paused");
    await context.close();
    await server.stop();
  });
}

test("without shared workers a leading tab serves the others, and another tab takes over", async ({ browser, demo, complaints }) => {
  const context = await browser.newContext();
  await context.addInitScript(() => delete (window as any).SharedWorker);
  const pages: Page[] = [];
  for (let tab = 0; tab < 3; tab++) {
    const page = await context.newPage();
    watch(page, complaints);
    await openList(page, demo);
    pages.push(page);
  }
  await demo.command("demo", "web-01", { kind: "pause" });
  for (const page of pages) await expectState(page, "web-01", "Paused");
  await pages[0].close();
  await demo.command("demo", "web-01", { kind: "resume" });
  for (const page of pages.slice(1)) await expectState(page, "web-01", "Running");
  await context.close();
});

test("a lost server is reported, and the page catches up without a reload", async ({ page }) => {
  const server = await new Server(["--demo"]).start();
  await openList(page, server);
  await page.evaluate(() => ((window as any).same = true));
  await server.stop();
  await expect(page.getByRole("status")).toHaveText("Reconnecting");
  await expect(page.getByText("Connection to Belvedere lost.")).toBeVisible();
  await press(page, "Reconnect now");
  await expect(page.getByRole("status")).toHaveText("Reconnecting");
  const again = await server.again();
  await again.command("demo", "web-01", { kind: "pause" });
  await expect(page.getByRole("status")).toHaveText("Live", { timeout: 30_000 });
  await expectState(page, "web-01", "Paused");
  expect(await page.evaluate(() => (window as any).same), "the page was not reloaded").toBe(true);
  await again.stop();
});

test("a stream that drops resumes after the last event, without gap or duplicate", async ({ page, demo }) => {
  // A stream of this tab alone, so that the test can watch and cut it.
  await page.addInitScript(() => {
    delete (window as any).SharedWorker;
    delete (window as any).BroadcastChannel;
    const Real = window.EventSource;
    const opened: EventSource[] = ((window as any).opened = []);
    const seen: string[] = ((window as any).seen = []);
    (window as any).EventSource = class extends Real {
      constructor(address: string) {
        super(address);
        opened.push(this);
        for (const kind of ["vm-state-changed", "task-created", "task-progress", "task-completed", "audit-appended", "guest-info-updated", "vm-updated", "inventory"]) {
          this.addEventListener(kind, (event) => seen.push((event as MessageEvent).lastEventId));
        }
      }
    };
  });
  await openList(page, demo);
  await demo.command("demo", "web-01", { kind: "pause" });
  await expectState(page, "web-01", "Paused");
  await page.evaluate(() => {
    const [source] = (window as any).opened;
    source.close();
    source.dispatchEvent(new Event("error"));
  });
  await demo.command("demo", "web-01", { kind: "resume" });
  await demo.command("demo", "web-02", { kind: "pause" });
  await expectState(page, "web-02", "Paused");
  await expectState(page, "web-01", "Running");
  const { seen, addresses } = await page.evaluate(() => ({
    seen: (window as any).seen as string[],
    addresses: (window as any).opened.map((source: EventSource) => source.url) as string[],
  }));
  expect(addresses.length).toBeGreaterThan(1);
  expect(addresses[1]).toContain("since=");
  const numbers = seen.map((id) => Number(id.split("-")[1]));
  numbers.forEach((number, at) => at && expect(number).toBe(numbers[at - 1] + 1));
});

test("the page of a deleted machine leads back to the list", async ({ page }) => {
  // A host whose only machine is transient: it is removed when it stops.
  const { mkdtempSync, writeFileSync } = await import("node:fs");
  const folder = mkdtempSync("/tmp/bv-node-");
  const domain = `<domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'><test:transient/><name>fleeting</name><memory>1024</memory><os><type>hvm</type></os></domain>`;
  writeFileSync(`${folder}/node.xml`, `<node>${domain}</node>`);
  const server = await new Server(["--connect", `demo=test://${folder}/node.xml`]).start();
  await openList(page, server);
  await row(page, "fleeting").getByRole("link", { name: "fleeting" }).click();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("fleeting");
  await server.command("demo", "fleeting", { kind: "forceOff" });
  await expect(page).toHaveURL(/\/vms$/);
  await expect(page.getByText("fleeting was deleted")).toBeVisible();
  await expect(page.getByRole("heading", { name: "No virtual machines yet" })).toBeVisible();
  await server.stop();
});

test("with two hosts, the reachable one works and the other one states why it is down", async ({ page }) => {
  const server = await new Server(["--demo", "--connect", "dead=qemu+unix:///system?socket=/nonexistent"]).start();
  await openList(page, server);
  await expect(page.getByRole("status")).toHaveText("Live, 1 host stale");
  await expect(page.getByText(/dead: not connected/)).toBeVisible();
  await expect(page.getByText(/retrying/)).toBeVisible();
  await press(row(page, "web-01"), "Pause");
  await expectState(page, "web-01", "Paused");
  await page.goto(`${server.url}/hosts`);
  await expect(page.getByRole("region", { name: "dead" })).toContainText("daemon is not running");
  await server.stop();
});

test("a command that no selected machine allows is disabled with the reason", async ({ page, demo }) => {
  await openList(page, demo);
  const batch = page.getByRole("group", { name: "Selected machines" }).getByRole("button", { name: "Pause" });
  const tick = (name: string) => page.getByRole("checkbox", { name: `Select ${name}`, exact: true });
  await tick("dns-2").check();
  await expect(batch).toHaveAttribute("aria-disabled", "true");
  await expect(batch).toHaveAttribute("title", "dns-2 is not running");
  await tick("web-01").check();
  await expect(batch, "one of them allows it").not.toHaveAttribute("aria-disabled");
  // The button follows state changes.
  await demo.command("demo", "web-01", { kind: "pause" });
  await expect(batch).toHaveAttribute("title", /any of the 2 selected/);
});

test("the list can be used with the keyboard alone", async ({ page, demo }) => {
  await openList(page, demo);
  await page.keyboard.press("/");
  await page.keyboard.type("web");
  await expect(list(page).getByRole("rowheader")).toHaveText([/web-01/, /web-02/]);
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await expect(row(page, "web-02").getByRole("link", { name: "web-02" })).toBeFocused();
  await page.keyboard.press("p");
  await expectState(page, "web-02", "Paused");
  await expect(row(page, "web-02").getByRole("link", { name: "web-02" }), "a live update keeps the focus").toBeFocused();
  await page.keyboard.press("k");
  // A letter is easily typed by mistake instead of in the search, so a command that stops a machine
  // asks.
  await page.keyboard.press("d");
  await expect(page.getByRole("dialog")).toContainText("Shut down web-01?");
  await page.keyboard.press("Escape");
  await expectState(page, "web-01", "Running");
  await page.keyboard.press("x");
  await expect(page.getByText("1 selected", { exact: true })).toBeVisible();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("web-01");
});

test("text being edited is not overwritten by a change from elsewhere", async ({ page, demo }) => {
  await openList(page, demo);
  await row(page, "mail").getByRole("link", { name: "mail" }).click();
  const box = page.locator("details.edit").filter({ hasText: "Change title" });
  await box.locator("summary").click();
  await box.getByRole("textbox").fill("My half-typed ti");
  await demo.command("demo", "mail", { kind: "setTitle", title: "Changed by somebody else" });
  await expect(box.getByText("Changed meanwhile to: Changed by somebody else")).toBeVisible();
  await expect(box.getByRole("textbox")).toHaveValue("My half-typed ti");
});

test("a page from a restarted server reconnects the stream of older tabs", async ({ context, complaints }) => {
  const server = await new Server(["--demo"]).start();
  const older = await context.newPage();
  watch(older, complaints);
  await openList(older, server);
  await server.stop();
  await expect(older.getByRole("status")).toContainText("Reconnecting");
  const again = await server.again();
  const newer = await context.newPage();
  watch(newer, complaints);
  let readings = 0;
  newer.on("request", (request) => (readings += Number(request.url().endsWith("/api/v1/inventory"))));
  await openList(newer, again);
  await expect(older.getByRole("status")).toContainText("Live");
  await again.command("demo", "web-01", { kind: "pause" });
  await expectState(newer, "web-01", "Paused");
  await expectState(older, "web-01", "Paused");
  expect(readings, "a tab that is behind pauses between reads").toBeLessThan(4);
  await again.stop();
});
