// Server-rendered pages update live, also after changes by virsh and other tabs.
import AxeBuilder from "@axe-core/playwright";
import { refused, expect, live, press, test, Daemon, Server } from "../support.ts";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Page } from "@playwright/test";

test("changes by virsh to pools, volumes and networks appear in an open page", async ({ page }) => {
  const daemon = new Daemon().start();
  const server = await new Server(["--connect", `atlas=${daemon.uri}`]).start();
  try {
    const folder = `${daemon.folder}/pool`;
    await page.goto(`${server.url}/storage`);
    await expect(page.getByRole("heading", { name: "No storage pools" })).toBeVisible();
    await live(page);
    daemon.virsh("pool-define-as", "images", "dir", "--target", folder);
    const pools = page.getByRole("table", { name: "Storage pools" });
    await expect(pools.getByRole("row", { name: /images/ })).toContainText("Stopped");
    daemon.virsh("pool-build", "images");
    daemon.virsh("pool-start", "images");
    await expect(pools.getByRole("row", { name: /images/ })).toContainText("Running");
    await pools.getByRole("link", { name: "images" }).click();
    await expect(page.getByRole("heading", { name: "No volumes" })).toBeVisible();
    await live(page);
    execFileSync("qemu-img", ["create", "-f", "qcow2", `${folder}/disk.qcow2`, "1G"]);
    daemon.virsh("pool-refresh", "images");
    const volumes = page.getByRole("table", { name: "Volumes" });
    await expect(volumes.getByRole("row", { name: /disk\.qcow2/ })).toContainText("1 GiB");
    // An open form keeps its input while the list beside it is updated.
    await page.getByText("New volume").click();
    await page.getByLabel("Name", { exact: true }).first().fill("half typed");
    execFileSync("qemu-img", ["create", "-f", "raw", `${folder}/late.raw`, "1M"]);
    daemon.virsh("pool-refresh", "images");
    await expect(volumes.getByRole("row", { name: /late\.raw/ })).toBeVisible();
    await expect(page.getByLabel("Name", { exact: true }).first()).toHaveValue("half typed");
    daemon.virsh("pool-destroy", "images");
    daemon.virsh("pool-undefine", "images");
    await page.goto(`${server.url}/networks`);
    await live(page);
    const xml = `${daemon.folder}/net.xml`;
    execFileSync("sh", ["-c", `echo "<network><name>island</name><ip address='10.213.9.1' netmask='255.255.255.0'/></network>" > ${xml}`]);
    daemon.virsh("net-define", xml);
    await expect(page.getByRole("row", { name: /island/ })).toContainText("10.213.9.0/24");
    daemon.virsh("net-undefine", "island");
    await expect(page.getByRole("heading", { name: "No networks" })).toBeVisible();
  } finally {
    await server.stop();
    daemon.stop();
  }
});

test("a file is downloaded from a URL, and errors are shown", async ({ page }) => {
  const content = Buffer.alloc(3_000_000, "belvedere");
  const place = createServer((request, response) => {
    if (request.url !== "/small%20disk.raw") return response.writeHead(404).end();
    response.writeHead(200, { "content-length": content.length }).end(content);
  });
  await new Promise<void>((listening) => place.listen(0, "127.0.0.1", listening));
  const address = `http://127.0.0.1:${(place.address() as AddressInfo).port}`;
  const daemon = new Daemon().start();
  const server = await new Server(["--connect", `atlas=${daemon.uri}`, "--fetch-from", "127.0.0.1"]).start();
  try {
    const folder = `${daemon.folder}/pool`;
    daemon.virsh("pool-define-as", "images", "dir", "--target", folder);
    daemon.virsh("pool-build", "images");
    daemon.virsh("pool-start", "images");
    await page.goto(`${server.url}/storage`);
    await page.getByRole("link", { name: "images" }).click();
    await live(page);
    const notices = page.getByRole("region", { name: "Notices" });
    const fetchFile = async (url: string, name: string, sha256 = "") => {
      while (await notices.getByRole("button", { name: "Dismiss" }).count()) await notices.getByRole("button", { name: "Dismiss" }).first().click();
      if (!(await page.getByLabel("URL", { exact: true }).isVisible())) await page.getByText("Download from URL").click();
      await page.getByLabel("URL", { exact: true }).fill(url);
      await page.getByLabel("Volume name (default: file name)").fill(name);
      await page.getByLabel("SHA-256 checksum (optional)").fill(sha256);
      await page.getByRole("button", { name: "Start download" }).click();
    };
    await fetchFile(`${address}/none.iso`, "");
    await expect(notices).toContainText("404 Not Found");
    await fetchFile("http://169.254.169.254/latest", "");
    await refused(page, true, /169\.254\.169\.254, which is a cloud metadata address/);
    await fetchFile("https://jane:secret@example.org/a.iso", "");
    await refused(page, true, /without credentials/);
    await fetchFile(`${address}/small%20disk.raw`, "small.raw", createHash("sha256").update(content).digest("hex"));
    await expect(notices).toContainText("images/small.raw is downloaded");
    await expect(page.getByRole("table", { name: "Volumes" }).getByRole("row", { name: /small\.raw/ })).toBeVisible();
    expect(readFileSync(`${folder}/small.raw`).equals(content)).toBe(true);
  } finally {
    await server.stop();
    daemon.stop();
    place.close();
  }
});

/** Simulates a hidden or visible tab; the test browser keeps all tabs in front. */
const hide = (page: Page, hidden: boolean) =>
  page.evaluate((hidden) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
  }, hidden);

test("a change from elsewhere appears in a tab, and a hidden tab catches up", async ({ page, context, demo }) => {
  await page.goto(`${demo.url}/storage`);
  await live(page);
  const other = await context.newPage();
  await other.goto(`${demo.url}/storage`);
  await live(other);
  await hide(page, true);
  let read = 0;
  page.on("request", (request) => (read += Number(new URL(request.url()).pathname === "/storage")));
  const inventory = (await demo.inventory()).hosts.demo;
  const pool = inventory.pools.find((pool: any) => pool.name === "fast");
  const body = JSON.stringify({ requestId: crypto.randomUUID(), host: "demo", target: pool.id, command: { kind: "setPoolAutostart", enabled: true } });
  const answer = await fetch(`${demo.url}/api/v1/commands`, { method: "POST", headers: { "content-type": "application/json" }, body });
  expect(answer.status).toBe(202);
  const on = (tab: Page) => tab.getByRole("row", { name: /fast/ }).getByRole("cell", { name: "on", exact: true });
  await expect(on(other)).toBeVisible();
  expect(read, "a hidden tab reads nothing").toBe(0);
  await hide(page, false);
  await expect(on(page)).toBeVisible();
});

test("pages about storage and networks are accessible in light and dark", async ({ page, demo }) => {
  const inventory = (await demo.inventory()).hosts.demo;
  const of = (list: any[], name: string) => list.find((one) => one.name === name).id;
  const paths = ["/storage", `/storage/demo/${of(inventory.pools, "images")}`, "/storage/new", "/networks", `/networks/demo/${of(inventory.networks, "default")}`, "/networks/new"];
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    for (const path of paths) {
      expect((await page.goto(`${demo.url}${path}`))?.status()).toBe(200);
      const { violations } = await new AxeBuilder({ page }).analyze();
      expect(violations.map((violation) => `${path}: ${violation.id} ${violation.nodes[0].html}`)).toEqual([]);
    }
  }
});

/** The page of a directory pool, on a daemon of its own. */
async function shelf(page: Page): Promise<{ daemon: Daemon; server: Server }> {
  const daemon = new Daemon().start();
  daemon.virsh("pool-define-as", "images", "dir", "--target", `${daemon.folder}/pool`);
  daemon.virsh("pool-build", "images");
  daemon.virsh("pool-start", "images");
  const server = await new Server(["--connect", `atlas=${daemon.uri}`]).start();
  await page.goto(`${server.url}/storage`);
  await page.getByRole("link", { name: "images" }).click();
  await live(page);
  return { daemon, server };
}

test("files are uploaded by selection and by drag and drop, and downloaded", async ({ page }) => {
  const { daemon, server } = await shelf(page);
  try {
    const large = Buffer.alloc(20 << 20, "belvedere ");
    await page.getByLabel("Upload files").setInputFiles({ name: "large.raw", mimeType: "application/octet-stream", buffer: large });
    const notices = page.getByRole("region", { name: "Notices" });
    await expect(notices).toContainText("large.raw is uploaded");
    const volumes = page.getByRole("table", { name: "Volumes" });
    await expect(volumes.getByRole("row", { name: /large\.raw/ })).toContainText("20 MiB");
    const dropped = await page.evaluateHandle(() => {
      const data = new DataTransfer();
      data.items.add(new File(["small"], "small.raw"));
      return data;
    });
    await page.locator(".served").dispatchEvent("drop", { dataTransfer: dropped });
    await expect(volumes.getByRole("row", { name: /small\.raw/ })).toBeVisible();
    const menu = volumes.getByLabel("Actions for large.raw");
    await menu.click();
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download large.raw" }).click()]);
    expect(download.suggestedFilename()).toBe("large.raw");
    expect(readFileSync((await download.path())!).equals(large)).toBe(true);
    // Invalid sizes come last, as their notices cover the list until they are dismissed.
    for (const [size, why] of [["much", /must be a number/], ["0", /must be greater than 0/], ["1", /data beyond the new size would be lost/]] as const) {
      if (!(await page.getByRole("button", { name: "Resize large.raw" }).isVisible())) await menu.click();
      await page.getByLabel("New size").locator("visible=true").fill(size);
      await press(page, "Resize large.raw");
      await refused(page, true, why);
    }
    await expect(volumes.getByRole("row", { name: /large\.raw/ })).toContainText("20 MiB");
  } finally {
    await server.stop();
    daemon.stop();
  }
});

test("an upload resumes when the same file is selected after a reload and a server crash", async ({ page }) => {
  const { daemon, server: first } = await shelf(page);
  let server = first;
  try {
    const content = Buffer.alloc(40 << 20, "belvedere ");
    const file = `${daemon.folder}/large.raw`;
    writeFileSync(file, content);
    let pieces = 0;
    // The second piece never gets a response.
    await page.route("**/api/v1/uploads/*", (route) => (route.request().method() === "PUT" && ++pieces === 2 ? undefined : route.continue()));
    await page.getByLabel("Upload files").setInputFiles(file);
    await expect.poll(() => pieces).toBe(2);
    await page.unroute("**/api/v1/uploads/*");
    await server.stop();
    server = await server.again();
    await page.reload();
    await live(page);
    const sent: string[] = [];
    page.on("request", (request) => request.method() === "PUT" && sent.push(new URL(request.url()).searchParams.get("offset")!));
    await page.getByLabel("Upload files").setInputFiles(file);
    await expect(page.getByRole("region", { name: "Notices" })).toContainText("large.raw is uploaded");
    expect(sent).toEqual([String(16 << 20), String(32 << 20)]);
    expect(readFileSync(`${daemon.folder}/pool/large.raw`).equals(content)).toBe(true);
  } finally {
    await server.stop();
    daemon.stop();
  }
});
