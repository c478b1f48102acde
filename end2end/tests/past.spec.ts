// Tasks, audit and history, with and without JavaScript.
import { busy, expect, live, openList, row, Server, test } from "../support.ts";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

test("commands are listed as tasks, each with its own page", async ({ page, demo }) => {
  await busy(demo);
  await openList(page, demo);
  await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Tasks" }).click();
  const tasks = page.getByRole("table", { name: "Tasks" });
  await expect(tasks.getByRole("rowheader")).toHaveText(["Start", "Resume", "Pause"]);
  await expect(tasks.getByRole("row").nth(1)).toContainText("dns-2");
  await expect(tasks.getByRole("row").nth(1)).toContainText("Succeeded");
  await tasks.getByRole("link", { name: "Pause" }).click();
  await expect(page.getByRole("heading", { name: "Pause web-01" })).toBeVisible();
  await expect(page.getByText("Requested")).toBeVisible();
});

test("the audit shows user, action and outcome, and can be searched", async ({ page, demo }) => {
  await busy(demo);
  await page.goto(`${demo.url}/audit`);
  await live(page);
  const audit = page.getByRole("table", { name: "Audit" });
  await expect(audit.getByRole("rowheader")).toHaveText(["Start", "Start", "Resume", "Pause", "Belvedere was started"]);
  await expect(audit.getByRole("row").nth(1)).toContainText("Refused");
  await expect(audit.getByRole("row").nth(1)).toContainText("web-02 is already running");
  await expect(audit.getByRole("row").nth(2)).toContainText("API, 127.0.0.1");
  await page.getByLabel("Outcome").selectOption("Refused");
  await page.getByRole("button", { name: "Filter" }).click();
  await expect(page).toHaveURL(/outcome=refused/);
  await expect(audit.getByRole("rowheader")).toHaveCount(1);
  await page.getByRole("link", { name: "Clear" }).click();
  await page.locator("main").getByRole("searchbox", { name: "Search" }).fill("dns");
  await page.getByRole("button", { name: "Filter" }).click();
  await expect(audit.getByRole("row").nth(1)).toContainText("dns-2");
  await expect(audit.getByRole("rowheader")).toHaveCount(1);
  await page.goto(`${demo.url}/audit?q=no-such-thing`);
  await expect(page.getByRole("heading", { name: "No matches" })).toBeVisible();
});

test("the history of a machine shows its commands and events", async ({ page, demo }) => {
  await busy(demo);
  await openList(page, demo);
  await row(page, "web-01").getByRole("link", { name: "web-01" }).click();
  await live(page);
  await page.getByRole("navigation", { name: "Machine" }).getByRole("link", { name: "History" }).click();
  const lines = page.getByRole("list", { name: "Events" });
  await expect(lines).toContainText("Pause: succeeded");
  await expect(lines).toContainText("web-01: Running → Paused");
  await expect(lines).toContainText("web-01: Paused → Running");
  await expect(lines).not.toContainText("dns-2");
});

test("events survive a restart, and reading them runs no commands", async ({ page }) => {
  const data = mkdtempSync(join(tmpdir(), "bv-data-"));
  const first = await new Server(["--demo", "--data", data]).start();
  await busy(first);
  await first.stop("SIGTERM");
  const server = await new Server(["--demo", "--data", data]).start();
  await page.goto(`${server.url}/history`);
  await live(page);
  const lines = page.getByRole("list", { name: "Events" });
  await expect(lines).toContainText("web-01: Running → Paused");
  await page.getByRole("combobox").selectOption("States");
  await page.getByRole("button", { name: "Filter" }).click();
  await expect(lines.getByRole("listitem").filter({ hasText: "→" })).toHaveCount(3);
  await expect(lines).not.toContainText("is connected");
  expect((await server.inventory()).hosts.demo.domains.find((domain: any) => domain.name === "dns-2").state).toBe("stopped");
  await page.goto(`${server.url}/history?from=2001-01-01T00:00&to=2001-01-02T00:00`);
  await expect(page.getByRole("heading", { name: "No matches" })).toBeVisible();
  await server.stop();
  rmSync(data, { recursive: true });
});

test("replay shows every machine after each event", async ({ page, demo }) => {
  await busy(demo);
  await page.goto(`${demo.url}/history`);
  await page.getByRole("navigation", { name: "History" }).getByRole("link", { name: "Replay" }).click();
  const then = page.getByRole("table", { name: "Machines at that time" });
  const machine = (name: string) => then.getByRole("row").filter({ has: page.getByRole("rowheader", { name, exact: true }) });
  // The latest moment is the current state; the last event may not be on disk at once.
  await expect(async () => {
    await page.goto(`${demo.url}/history/replay`);
    await expect(machine("dns-2")).toContainText("Running", { timeout: 500 });
  }).toPass();
  const what = page.locator("main .moment");
  await expect(what).toContainText("dns-2: Stopped → Running");
  await expect(page.getByText("Next", { exact: true })).toHaveAttribute("aria-disabled", "true");
  await page.getByRole("link", { name: "Previous" }).click();
  await expect(what).toContainText("web-01: Paused → Running");
  await expect(machine("dns-2")).toContainText("Stopped");
  await page.getByRole("link", { name: "Previous" }).click();
  await expect(what).toContainText("web-01: Running → Paused");
  await expect(machine("web-01")).toContainText("Paused");
  await expect(machine("grafana")).toContainText("Paused");
  await page.getByRole("link", { name: "Next" }).click();
  await expect(machine("web-01")).toContainText("Running");
  await expect(page.getByRole("navigation", { name: "Events over time" }).getByRole("link").first()).toBeVisible();
  await page.getByRole("link", { name: "First", exact: true }).click();
  await expect(page.getByText("Previous", { exact: true })).toHaveAttribute("aria-disabled", "true");
  // A moment can be shared, and a time before all events is the first one.
  await page.goto(`${demo.url}/history/replay?at=2001-01-01T00:00`);
  await expect(page.getByText("Previous", { exact: true })).toHaveAttribute("aria-disabled", "true");
  await page.goto(`${demo.url}/history/replay?at=yesterday`);
  await expect(page.getByText("is not a time")).toBeVisible();
  expect((await demo.inventory()).hosts.demo.domains.find((domain: any) => domain.name === "dns-2").state, "no command was run").toBe("running");
});

test("names with markup are shown as text in audit, history and tasks", async ({ page, demo }) => {
  const hostile = `<img src=x onerror="window.pwned=1">`;
  await demo.command("demo", "dns-2", { kind: "rename", name: hostile });
  await expect.poll(async () => (await demo.inventory()).hosts.demo.domains.some((domain: any) => domain.name === hostile)).toBe(true);
  for (const path of ["/audit", "/history", "/tasks"]) {
    await page.goto(demo.url + path);
    await live(page);
    await expect(page.locator("main img")).toHaveCount(0);
  }
  await page.goto(`${demo.url}/audit`);
  await expect(page.getByText(`Rename to ${hostile}`)).toBeVisible();
});
