// Faults between the page and the server, and in the page itself.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmdirSync, writeFileSync } from "node:fs";
import { createServer, request as ask, type Server as Proxy } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, expectState, live, openList, press, row, Server, test } from "../support.ts";

/** A proxy that withholds streams while `holds` returns true, and answers 401 while `closed` does. */
async function between(target: string, holds: () => boolean, closed = () => false, rewrite?: (text: string) => string): Promise<{ url: string; proxy: Proxy }> {
  const proxy = createServer((incoming, outgoing) => {
    if (closed()) return void outgoing.writeHead(401).end("Who are you?");
    const stream = incoming.url!.startsWith("/events") && !incoming.url!.includes("poll=");
    const forward = ask(target + incoming.url, { method: incoming.method, headers: incoming.headers }, (answer) => {
      if (stream && holds()) return; // Read but never passed on.
      outgoing.writeHead(answer.statusCode!, answer.headers);
      if (stream && rewrite) answer.setEncoding("utf8").on("data", (text) => outgoing.write(rewrite(text))).on("end", () => outgoing.end());
      else answer.pipe(outgoing);
      outgoing.flushHeaders();
    });
    forward.on("error", () => outgoing.destroy());
    outgoing.on("close", () => forward.destroy());
    incoming.pipe(forward);
  });
  await new Promise<void>((ready) => proxy.listen(0, "127.0.0.1", ready));
  return { url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, proxy };
}

test("behind a proxy that blocks the stream the page is live by polling and shows that", async ({ page, demo }) => {
  test.setTimeout(120_000);
  let holds = true;
  const { url, proxy } = await between(demo.url, () => holds);
  await page.goto(`${url}/vms`);
  await expect(page.getByRole("status")).toHaveText("Live, polling", { timeout: 20_000 });
  for (const [kind, state] of [["pause", "Paused"], ["resume", "Running"], ["pause", "Paused"]]) {
    await demo.command("demo", "web-01", { kind });
    await expectState(page, "web-01", state, 3_000);
  }
  await press(row(page, "web-02"), "Pause");
  await expectState(page, "web-02", "Paused");
  // Once the stream works again, it replaces polling.
  holds = false;
  await expect(page.getByRole("status")).toHaveText("Live", { timeout: 90_000 });
  await demo.command("demo", "web-01", { kind: "resume" });
  await expectState(page, "web-01", "Running");
  proxy.closeAllConnections();
  proxy.close();
});

test("a page of an older version than the server keeps working and shows a notice", async ({ page, demo }) => {
  // What a later version might send: another version number, an unknown event type, and a payload with
  // more fields.
  const later = (text: string) =>
    text
      .replace(/\{"server":"[^"]*"\}/g, `{"server":"99.0.0"}`)
      .replace(/^id: (\S+)\nevent: vm-state-changed\ndata: \{/gm, `id: $1\nevent: of-a-later-version\ndata: {"x":1}\n\nid: $1\nevent: vm-state-changed\ndata: {"ofALaterVersion":[1],`);
  const { url, proxy } = await between(demo.url, () => false, () => false, later);
  await page.goto(`${url}/vms`);
  await live(page);
  await expect(page.getByText("The server now runs a different version")).toBeVisible();
  await demo.command("demo", "web-01", { kind: "pause" });
  await expectState(page, "web-01", "Paused");
  await expect(page.getByRole("button", { name: "Reload page" })).toBeVisible();
  proxy.closeAllConnections();
  proxy.close();
});

test("an open page reports sign-out and resumes after sign-in", async ({ page, demo, complaints }) => {
  test.setTimeout(90_000);
  let closed = false;
  const { url, proxy } = await between(demo.url, () => false, () => closed);
  await page.goto(`${url}/vms`);
  await live(page);
  closed = true;
  proxy.closeAllConnections();
  await expect(page.getByRole("status")).toHaveText("Stale, signed out");
  await expect(page.getByText("You are signed out.")).toBeVisible();
  closed = false;
  // As after sign-in in another tab: the page notices by itself.
  await demo.command("demo", "web-01", { kind: "pause" });
  await expect(page.getByRole("status")).toHaveText("Live", { timeout: 45_000 });
  await expectState(page, "web-01", "Paused");
  closed = true;
  proxy.closeAllConnections();
  await expect(page.getByText("You are signed out.")).toBeVisible();
  closed = false;
  await press(page, "Sign in again");
  await live(page);
  await expect(page.getByText("You are signed out.")).toHaveCount(0);
  proxy.closeAllConnections();
  proxy.close();
  // The browser logs each refusal to the console.
  const refusals = complaints.filter((complaint) => complaint.includes("status of 401"));
  expect(complaints).toEqual(refusals);
  complaints.length = 0;
});

test("a critical error opens a dialog with details, retry and a link to the log", async ({ page, complaints }) => {
  test.skip(process.getuid?.() !== 0, "mounting a small disk needs root");
  const disk = mkdtempSync(join(tmpdir(), "bv-disk-"));
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m", "none", disk]);
  try {
    const server = await new Server(["--demo", "--data", disk]).start();
    await openList(page, server);
    for (let size = 1 << 20; size > 0; size >>= 1) {
      for (let n = 0; ; n++) {
        try {
          writeFileSync(join(disk, `ballast-${size}-${n}`), Buffer.alloc(size));
        } catch {
          break;
        }
      }
    }
    let status = 202;
    for (let tries = 0; status === 202 && tries < 100; tries++) {
      status = (await server.command("demo", "dns-2", { kind: "setTitle", title: "x".repeat(190) })).status;
    }
    expect(status).toBe(507);
    const dialog = page.getByRole("dialog", { name: "Action required" });
    await expect(dialog).toContainText("is full");
    await expect(page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "History" })).toContainText("1");
    await press(dialog, "Try again");
    await expect(dialog.getByRole("alert")).toContainText("is full");
    // After the dialog is closed, the banner stays.
    await press(dialog, "Close");
    await expect(dialog).toBeHidden();
    await expect(page.getByText("Commands are refused.")).toBeVisible();
    execFileSync("sh", ["-c", `rm ${disk}/ballast-*`]);
    await expect(page.getByText("Commands are refused.")).toHaveCount(0);
    await expect.poll(async () => {
      await page.goto(`${server.url}/history/errors`);
      return page.getByRole("table", { name: "Errors" }).getByRole("rowheader").count();
    }).toBe(2);
    const rows = page.getByRole("table", { name: "Errors" }).getByRole("row");
    await expect(rows.nth(1)).toContainText("Info");
    await expect(rows.nth(2)).toContainText("Critical");
    await page.getByLabel("Severity").selectOption("Critical");
    await page.getByRole("button", { name: "Filter" }).click();
    await expect(page.getByRole("table", { name: "Errors" }).getByRole("rowheader")).toHaveCount(1);
    await server.stop();
  } finally {
    execFileSync("umount", ["-l", disk]);
    rmdirSync(disk);
  }
  const refusals = complaints.filter((complaint) => complaint.includes("status of 507"));
  expect(complaints).toEqual(refusals);
  complaints.length = 0;
});

test("a harmless command waits for an unreachable server and can be cancelled", async ({ page, demo }) => {
  await openList(page, demo);
  const notices = page.getByRole("region", { name: "Notices" });
  await demo.stop();
  await expect(page.getByRole("status")).toContainText("Reconnecting");
  await press(row(page, "dns-2"), "Start");
  await expect(notices).toContainText("dns-2 is waiting for the Belvedere server");
  await press(row(page, "lab-bsd"), "Start");
  await press(notices.locator("article").filter({ hasText: "lab-bsd" }), "Cancel");
  await expect(notices).toContainText("Cancelled before it was sent.");
  // A command that could do harm later is refused at once.
  await press(row(page, "web-01"), "Shut down");
  await expect(notices).toContainText("Shut down was not sent: the Belvedere server is unreachable.");
  const again = await demo.again();
  await expectState(page, "dns-2", "Running", 40_000);
  await live(page);
  await expectState(page, "lab-bsd", "Stopped");
  await expectState(page, "web-01", "Running");
  await again.stop();
});

test("a stopped page shows a notice and reports the error to the server", async ({ page, demo }) => {
  await openList(page, demo);
  const reported = page.waitForRequest((request) => request.url().endsWith("/api/v1/reports"));
  await page.evaluate(() => {
    const error = new WebAssembly.RuntimeError("unreachable");
    window.dispatchEvent(new ErrorEvent("error", { error, message: "unreachable executed" }));
  });
  // The body of a beacon is not visible here; the next test covers that the server accepts it.
  expect((await reported).method()).toBe("POST");
  await expect(page.getByRole("alert")).toContainText("This page has stopped working");
  await page.getByRole("link", { name: "Reload page" }).click();
  await live(page);
  await expect(page.getByText("This page has stopped working")).toHaveCount(0);
});

test("browser error reports are accepted and rate-limited", async ({ demo }) => {
  const report = (body: string) => fetch(`${demo.url}/api/v1/reports`, { method: "POST", headers: { "content-type": "application/json" }, body });
  expect((await report(JSON.stringify({ kind: "panic", text: "at the disco" }))).status).toBe(204);
  expect((await report("{}")).status).toBe(422);
  const answers = await Promise.all(Array.from({ length: 80 }, () => report(JSON.stringify({ kind: "console", text: "x" }))));
  expect(answers.some((answer) => answer.status === 429)).toBe(true);
});
