// A real libvirtd with real QEMU guests: changes by virsh and by guests appear in an open page.
import { execFileSync } from "node:child_process";
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { type Page } from "@playwright/test";
import { Daemon, expect, expectState, list, openList, press, row, Server, test } from "../support.ts";

const daemonWorks = process.getuid?.() === 0;

/** How often the daemon is killed while machines change. */
const kills = Number(process.env.KILLS ?? 20);

test.describe("on a real host", () => {
  test.skip(!daemonWorks, "needs root for a libvirtd of its own");
  test.setTimeout(300_000 + 5_000 * kills);

  let daemon: Daemon;
  let server: Server;
  test.beforeEach(async () => {
    daemon = new Daemon().start();
  });
  test.afterEach(async () => {
    await server?.stop();
    daemon.stop();
  });
  const serve = async () => (server = await new Server(["--connect", `atlas=${daemon.uri}`]).start());

  /** Waits until the guest has booted. */
  const booted = (name: string) =>
    expect.poll(() => {
      try {
        return readFileSync(`${daemon.folder}/console-${name}.log`, "utf8");
      } catch {
        return "";
      }
    }, { timeout: 60_000 }).toContain("guest is ready");

  test("a guest is started, paused, resumed and shut down from the page, and its agent data is shown", async ({ page }) => {
    daemon.guest("tiny");
    await openList(page, await serve());
    await expectState(page, "tiny", "Stopped");
    await press(row(page, "tiny"), "Start");
    await expectState(page, "tiny", "Running");
    await booted("tiny");
    await press(row(page, "tiny"), "Pause");
    await expectState(page, "tiny", "Paused");
    expect(daemon.virsh("domstate", "tiny")).toBe("paused");
    await press(row(page, "tiny"), "Resume");
    await expectState(page, "tiny", "Running");
    await row(page, "tiny").getByRole("link", { name: "tiny" }).click();
    await expect(page.locator("dd", { hasText: "Tiny Linux" })).toBeVisible({ timeout: 60_000 });
    await press(page, "Shut down");
    await expect(page.locator(".head .state")).toHaveText("Stopped", { timeout: 30_000 });
    await expect(page.locator(".head")).toContainText("shut down by guest");
    expect(daemon.virsh("domstate", "tiny")).toBe("shut off");
  });

  test("a slow shutdown is shown in list and header and can be cancelled", async ({ page }) => {
    // Nothing to boot: its firmware ignores the power button.
    daemon.guest("deaf");
    const file = `${daemon.folder}/deaf.xml`;
    writeFileSync(file, daemon.virsh("dumpxml", "deaf").replace(/<(kernel|initrd|cmdline)>.*\n/g, ""));
    daemon.virsh("define", file);
    daemon.virsh("start", "deaf");
    await openList(page, await serve());
    await press(row(page, "deaf"), "Shut down");
    await expect(row(page, "deaf")).toContainText("shutting down");
    // In the page that sent it, and in every other page.
    await expect(page.getByRole("region", { name: "Notices" }).getByRole("button", { name: "Cancel" })).toBeVisible();
    const other = await page.context().newPage();
    await openList(other, server);
    await row(other, "deaf").getByRole("link", { name: "deaf" }).click();
    await expect(other.locator(".head")).toContainText("shutting down");
    await press(other.locator(".head"), "Cancel");
    await expect(other.locator(".head")).not.toContainText("shutting down");
    await expect(row(page, "deaf")).not.toContainText("shutting down");
    await expect(page.getByText("Waiting for deaf to shut down was cancelled")).toBeVisible();
    await expectState(page, "deaf", "Running");
  });

  test("changes by virsh or inside the guest appear at once", async ({ page }) => {
    daemon.guest("tiny");
    await openList(page, await serve());
    daemon.virsh("start", "tiny");
    await expectState(page, "tiny", "Running", 2_000);
    daemon.virsh("suspend", "tiny");
    await expectState(page, "tiny", "Paused", 2_000);
    daemon.virsh("resume", "tiny");
    await expectState(page, "tiny", "Running", 2_000);
    await booted("tiny");
    // The guest powers itself off.
    const console = openSync(daemon.virsh("ttyconsole", "tiny"), "r+");
    writeSync(console, "poweroff -f\r");
    await expectState(page, "tiny", "Stopped", 30_000);
    closeSync(console);
    daemon.virsh("start", "tiny");
    await expectState(page, "tiny", "Running", 2_000);
    daemon.virsh("destroy", "tiny");
    await expectState(page, "tiny", "Stopped", 2_000);
    daemon.guest("second");
    await expectState(page, "second", "Stopped", 2_000);
    daemon.virsh("undefine", "tiny");
    await expect(row(page, "tiny")).toHaveCount(0);
  });

  test("a crashed machine is shown with its reason", async ({ page }) => {
    daemon.guest("tiny");
    await openList(page, await serve());
    daemon.virsh("start", "tiny");
    await expectState(page, "tiny", "Running");
    execFileSync("pkill", ["-9", "-f", "guest=tiny,"]);
    await expectState(page, "tiny", "Stopped");
    await expect(row(page, "tiny").locator(".state")).toHaveAttribute("title", "Stopped: crashed");
  });

  test("the address of a machine that is defined later turns into its page", async ({ page }) => {
    daemon.guest("tiny");
    const id = "6d6f6e61-0000-4000-8000-00000000ab1e";
    const late = daemon.virsh("dumpxml", "tiny").replace(/<uuid>.*<\/uuid>/, `<uuid>${id}</uuid>`).replaceAll("tiny", "late");
    writeFileSync(`${daemon.folder}/late.xml`, late);
    await openList(page, await serve());
    await page.goto(`${server.url}/vms/atlas/${id}`);
    await expect(page.getByText("Machine not found")).toBeVisible();
    daemon.virsh("define", `${daemon.folder}/late.xml`);
    await expect(page.getByRole("heading", { level: 1 })).toHaveText("late");
  });

  test("a command that fails on the host is reported with the machine's name", async ({ page }) => {
    daemon.guest("tiny");
    const broken = daemon.virsh("dumpxml", "tiny").replace(/<uuid>.*<\/uuid>/, "").replaceAll("tiny", "broken")
      .replace(/<kernel>.*<\/kernel>/, "<kernel>/nonexistent/kernel</kernel>");
    writeFileSync(`${daemon.folder}/broken.xml`, broken);
    daemon.virsh("define", `${daemon.folder}/broken.xml`);
    await openList(page, await serve());
    await press(row(page, "broken"), "Start");
    await expect(page.getByRole("region", { name: "Notices" })).toContainText("broken");
    await expect(page.getByRole("region", { name: "Notices" })).toContainText("/nonexistent/kernel");
    await expectState(page, "broken", "Stopped");
  });

  test("a killed daemon is reported at once, and missed changes are caught up, twenty times", async ({ page }) => {
    const names = ["one", "two", "three"];
    names.forEach((name) => daemon.guest(name));
    await openList(page, await serve());
    const words: Record<string, string> = { "running": "Running", "paused": "Paused", "shut off": "Stopped", "in shutdown": "Shutting down", "crashed": "Crashed" };
    const truth = () =>
      Object.fromEntries(daemon.virsh("list", "--all").split("\n").map((line) => /^\s*\S+\s+(\S+)\s+(.*\S)\s*$/.exec(line)!).map(([, name, state]) => [name, words[state]]));
    const rows = (page: Page) =>
      list(page).locator("tbody tr").evaluateAll((rows) => Object.fromEntries(rows.map((row) => [row.querySelector("th a")!.textContent, row.querySelector(".state")!.textContent])));
    let seed = 7;
    const pick = <T>(of: T[]): T => of[(seed = (seed * 1103515245 + 12345) % 2147483648) % of.length];
    for (let round = 0; round < kills; round++) {
      await Promise.all(names.map((name) => daemon.virshLater("start", name).catch(() => "it runs")));
      const flapping = [0, 1, 2].map(() => daemon.virshLater(pick(["destroy", "suspend", "resume"]), pick(names)).catch(() => ""));
      daemon.kill();
      await Promise.all(flapping);
      await expect(page.getByRole("status"), `round ${round}`).toHaveText("Stale");
      // A guest dies while Belvedere is not connected.
      if (round % 4 === 3) {
        try {
          execFileSync("pkill", ["-9", "-f", `guest=${pick(names)},`]);
        } catch { /* it did not run */ }
      }
      daemon.restart();
      await daemon.virshLater(pick(["start", "suspend", "resume"]), pick(names)).catch(() => "");
      await expect(page.getByRole("status"), `round ${round}`).toHaveText("Live");
      await expect.poll(() => rows(page), { message: `round ${round}` }).toEqual(truth());
    }
    expect(await rows(page)).toEqual(truth());
  });

  test("a start that dies with the daemon leaves the host usable", async ({ page }) => {
    ["half", "whole"].forEach((name) => daemon.guest(name));
    daemon.virsh("start", "whole");
    await openList(page, await serve());
    const starting = daemon.virshLater("start", "half").catch(() => "");
    await expect.poll(() => daemon.virsh("domstate", "half")).not.toBe("shut off");
    daemon.kill();
    await starting;
    daemon.restart();
    await expect(page.getByRole("status")).toHaveText("Live");
    await press(row(page, "whole"), "Pause");
    await expectState(page, "whole", "Paused");
  });

  test("a hung QEMU process is marked and does not affect other machines", async ({ page }) => {
    ["stuck", "other"].forEach((name) => daemon.guest(name));
    ["stuck", "other"].forEach((name) => daemon.virsh("start", name));
    await openList(page, await serve());
    await expectState(page, "stuck", "Running");
    const signal = (name: string) => execFileSync("pkill", [`-${name}`, "-f", "guest=stuck,"]);
    signal("STOP");
    // Another client's query to the machine waits for a reply that does not come.
    const waiting = daemon.virshLater("dommemstat", "stuck").catch(() => "");
    await server.stop();
    server = await server.again();
    await openList(page, server);
    await expectState(page, "stuck", "Running");
    await press(row(page, "other"), "Pause");
    await expectState(page, "other", "Paused");
    expect((await server.inventory()).hosts.atlas.connection.connected).toBe(true);
    signal("CONT");
    await waiting;
    await expect(row(page, "stuck")).not.toContainText("not responding");
    await press(row(page, "stuck"), "Pause");
    await expectState(page, "stuck", "Paused");
  });

  test("a frozen daemon is detected and shown, and nothing hangs", async ({ page }) => {
    daemon.guest("tiny");
    await openList(page, await serve());
    daemon.freeze();
    await expect(page.getByRole("status")).toHaveText("Stale", { timeout: 20_000 });
    await expect(row(page, "tiny").getByRole("button", { name: "Start" })).toHaveAttribute("title", /atlas is not connected/);
    daemon.thaw();
    await expect(page.getByRole("status")).toHaveText("Live", { timeout: 30_000 });
    await expect(row(page, "tiny").getByRole("button", { name: "Start" })).not.toHaveAttribute("aria-disabled", "true");
  });
});
