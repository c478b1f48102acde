// Base paths behind a proxy: one that keeps the path and one that strips it, on one origin, each with
// its own server.
import { createServer, request, type Server as HttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, expectState, list, logIn, password, row, Server, test } from "../support.ts";

/** A reverse proxy for servers below paths; some paths are stripped. */
async function proxy(below: Record<string, { server: Server; strips: boolean }>): Promise<HttpServer> {
  const proxy = createServer((asked, answer) => {
    const found = Object.entries(below).find(([path]) => asked.url === path || asked.url!.startsWith(`${path}/`));
    if (!found) {
      answer.writeHead(404, { "content-type": "text/html" }).end("<link rel=icon href=data:,>This is somebody else's.");
      return;
    }
    const [path, { server, strips }] = found;
    const to = strips ? asked.url!.slice(path.length) || "/" : asked.url!;
    const port = new URL(server.url).port;
    const passed = request({ host: "127.0.0.1", port, path: to, method: asked.method, headers: asked.headers }, (got) => {
      answer.writeHead(got.statusCode!, got.headers);
      got.pipe(answer);
    });
    passed.on("error", () => answer.destroy());
    answer.on("close", () => passed.destroy());
    asked.pipe(passed);
  });
  await new Promise<void>((done) => proxy.listen(0, "127.0.0.1", done));
  return proxy;
}

let servers: Server[] = [];
let front: HttpServer;
let origin = "";

test.beforeAll(async () => {
  const started = ["/lab/kept", "/taken"].map((path) => new Server(["--demo", "--auth", "on", "--base-path", path]).start());
  servers = await Promise.all(started);
  front = await proxy({
    "/lab/kept": { server: servers[0], strips: false },
    "/taken": { server: servers[1], strips: true },
  });
  origin = `http://127.0.0.1:${(front.address() as AddressInfo).port}`;
  servers.forEach((server) => server.verb(["user", "add", "root", "--role", "admin", "--password-stdin"], password));
});

test.afterAll(async () => {
  front.closeAllConnections();
  front.close();
  await Promise.all(servers.map((server) => server.stop()));
});

for (const path of ["/lab/kept", "/taken"]) {
  test(`below ${path} sign-in, commands and all links stay within the base path`, async ({ page, script }) => {
    const outside: string[] = [];
    page.on("request", (asked) => {
      if (!new URL(asked.url()).pathname.startsWith(path)) outside.push(asked.url());
    });
    await page.goto(`${origin}${path}/vms?q=web`);
    await logIn(page, "root");
    await expect(page).toHaveURL(`${origin}${path}/vms?q=web`);
    const [cookie] = (await page.context().cookies()).filter((cookie) => cookie.httpOnly);
    expect(cookie).toMatchObject({ path });
    await page.goto(`${origin}${path}/vms`);
    if (script) await expect(page.getByRole("status")).toContainText("Live");
    await row(page, "web-01").getByRole("button", { name: "Pause" }).click();
    await expectState(page, "web-01", "Paused");
    await row(page, "web-01").getByRole("button", { name: "Resume" }).click();
    await expectState(page, "web-01", "Running");
    // Every linked page exists and links only below the base path.
    const seen = new Set<string>();
    const kinds = new Set<string>();
    const open = [`${path}/`];
    while (open.length > 0 && seen.size < 40) {
      const next = open.shift()!;
      // One machine is enough.
      const kind = next.split("?")[0].replace(/[0-9a-f-]{36}/, "ID");
      if (seen.has(next.split("?")[0]) || kinds.has(kind)) continue;
      kinds.add(kind);
      seen.add(next.split("?")[0]);
      const answer = await page.goto(`${origin}${next}`);
      expect(answer!.status(), next).toBe(200);
      const addresses = await page.evaluate(() =>
        [...document.querySelectorAll("[href],[action],[src]")]
          .filter((element) => !element.closest("svg"))
          .map((element) => element.getAttribute("href") ?? element.getAttribute("action") ?? element.getAttribute("src")!));
      for (const address of addresses.filter((address) => address.startsWith("/"))) {
        expect(address, `on ${next}`).toMatch(new RegExp(`^${path}(/|$)`));
      }
      const links = addresses.filter((address) => address.startsWith(path) && !/\/(pkg|api|favicon|confirm)/.test(address));
      const isPage = await page.evaluate(() => [...document.querySelectorAll("a[href]")].map((link) => link.getAttribute("href")!));
      open.push(...links.filter((address) => isPage.includes(address)));
    }
    expect([...seen]).toEqual(expect.arrayContaining([`${path}/hosts`, `${path}/tasks`, `${path}/audit`, `${path}/account`]));
    expect(outside).toEqual([]);
    // Navigation within the page, without a reload.
    await page.goto(`${origin}${path}/vms`);
    await row(page, "web-01").getByRole("link", { name: "web-01" }).click();
    await expect(page.getByRole("heading", { name: "web-01" })).toBeVisible();
    expect(page.url()).toContain(`${origin}${path}/vms/demo/`);
    await page.getByLabel("Main").getByRole("link", { name: /Virtual machines/ }).click();
    await expect(list(page)).toBeVisible();
  });
}

test("two servers on one origin have separate sessions", async ({ page }) => {
  await page.goto(`${origin}/lab/kept/vms`);
  await logIn(page, "root");
  await expect(list(page)).toBeVisible();
  await page.goto(`${origin}/taken/vms`);
  await logIn(page, "root");
  await expect(list(page)).toBeVisible();
  // Neither server has ended the other one's session.
  await page.goto(`${origin}/lab/kept/vms`);
  await expect(list(page)).toBeVisible();
});
