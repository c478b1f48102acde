// Consoles of real guests: output, input, sharing, and how they end.
import { readFileSync } from "node:fs";
import AxeBuilder from "@axe-core/playwright";
import { type Page } from "@playwright/test";
import { Daemon, expect, logIn, press, Server, test, watch } from "../support.ts";

test.describe("the console of a real guest", () => {
  test.skip(process.getuid?.() !== 0, "needs root for a libvirtd of its own");
  test.setTimeout(180_000);

  let daemon: Daemon;
  let server: Server;
  let address: string;
  test.beforeEach(async () => {
    daemon = new Daemon().start();
    daemon.guest("tiny");
    daemon.virsh("start", "tiny");
    server = await new Server(["--connect", `atlas=${daemon.uri}`]).start();
    address = `${server.url}/vms/atlas/${daemon.virsh("domuuid", "tiny")}/console`;
    await expect.poll(() => readFileSync(`${daemon.folder}/console-tiny.log`, "utf8"), { timeout: 60_000 }).toContain("guest is ready");
  });
  test.afterEach(async () => {
    await server.stop();
    daemon.stop();
  });

  const state = (page: Page) => page.locator(".console [data-state]");
  const terminal = (page: Page) => page.locator(".xterm-rows");
  /** Types a line into the terminal. */
  const type = async (page: Page, line: string) => {
    // Input while disconnected is discarded.
    await expect(page.getByRole("region", { name: "Serial 0 of tiny" }).locator("[data-state]")).toContainText("Connected");
    await page.getByRole("textbox", { name: "Serial 0 of tiny" }).focus();
    await page.keyboard.type(line);
    await page.keyboard.press("Enter");
  };

  test("a serial console takes input, is shared by two pages, and shows its history to later ones", async ({ page, context, complaints }) => {
    await page.goto(`${address}?show=serial0`);
    await expect(state(page)).toHaveText("Connected");
    await type(page, "echo $((6 * 7))-answer");
    await expect(terminal(page)).toContainText("42-answer");
    const second = await context.newPage();
    watch(second, complaints);
    await second.goto(`${address}?show=serial0`);
    await expect(terminal(second)).toContainText("42-answer");
    await expect(state(page)).toHaveText("Connected. Also viewing: somebody (2)");
    await type(second, "echo from-$((2 * 4))-other");
    await expect(terminal(page)).toContainText("from-8-other");
    // Pasted text is sent as it is.
    await second.getByText("Type text").click();
    await second.getByLabel("Text to send as keystrokes").fill("echo pasted-$((3 * 3))\n");
    await press(second, "Send keystrokes");
    await expect(terminal(page)).toContainText("pasted-9");
    const saved = second.waitForEvent("download");
    await press(second, "Save text");
    const file = await (await saved).path();
    expect(readFileSync(file, "utf8")).toContain("pasted-9");
    await second.close();
    await expect(state(page)).toHaveText("Connected");
    // Opening a console is recorded with its name.
    const { records } = await (await fetch(`${server.url}/api/v1/audit?kind=consoleOpened`)).json();
    expect(records.map((record: any) => record.targetName)).toContain("tiny/serial0 on atlas");
  });

  test("a serial console keeps its output while no page is open for more than 15 s", async ({ page }) => {
    await page.goto(`${address}?show=serial0`);
    await expect(state(page)).toHaveText("Connected");
    await type(page, "echo $((6 * 7))-early; sleep 17; echo late-$((3 * 5))");
    await expect(terminal(page)).toContainText("42-early");
    await page.getByRole("link", { name: "Overview" }).first().click();
    await expect(page).toHaveURL(`${server.url}/`);
    const log = () => readFileSync(`${daemon.folder}/console-tiny.log`, "utf8");
    await expect.poll(log, { timeout: 60_000 }).toContain("late-15");
    await page.goBack();
    await expect(terminal(page)).toContainText("42-early");
    await expect(terminal(page)).toContainText("late-15");
  });

  test("terminal queries are answered once, and not by pages that join later", async ({ page, context, complaints }) => {
    await page.goto(`${address}?show=serial0`);
    await expect(state(page)).toHaveText("Connected");
    // The guest asks for the cursor position and echoes the response as input.
    await type(page, "printf 'asked\\033[6n'; read -r answer; echo told-$((4 * 4))");
    await expect(terminal(page)).toContainText(/asked\^\[\[\d+;\d+R/);
    await page.keyboard.press("Enter");
    await expect(terminal(page)).toContainText("told-16");
    const second = await context.newPage();
    watch(second, complaints);
    // Responses by the terminal itself are text frames, typed input is not.
    const said: string[] = [];
    second.on("websocket", (socket) => socket.on("framesent", ({ payload }) => typeof payload === "string" && said.push(payload)));
    await second.goto(`${address}?show=serial0`);
    await expect(terminal(second)).toContainText("told-16");
    await page.bringToFront();
    expect(said).toEqual([]);
    // The shell queries the terminal with each prompt; both tabs respond, only one is heard, so the
    // next line is exactly what was typed.
    for (const n of [5, 6, 7]) {
      await type(page, `echo typed-$((${n} * ${n}))`);
      await expect(terminal(second)).toContainText(`typed-${n * n}`);
    }
    await expect(terminal(page)).not.toContainText("not found");
  });

  test("releasing the keyboard of a screen leaves no key pressed", async ({ page }) => {
    const sent: Buffer[] = [];
    page.on("websocket", (socket) => socket.on("framesent", (frame) => sent.push(Buffer.from(frame.payload as Buffer))));
    await page.goto(address);
    await expect(state(page)).toHaveText("Connected");
    await page.getByRole("img", { name: "Screen of tiny" }).click();
    /** The events of a key: true for pressed (QEMU's extended key event). */
    const moves = (keysym: number) => {
      const events = sent.filter((part) => part.length === 12 && part[0] === 255 && part.readUInt32BE(4) === keysym);
      return events.map((part) => part.readUInt16BE(2) === 1);
    };
    await page.keyboard.down("ControlLeft");
    await page.keyboard.down("AltLeft");
    await expect.poll(() => [moves(0xffe3), moves(0xffe9)]).toEqual([[true], [true]]);
    await page.keyboard.press("End");
    await expect.poll(() => [moves(0xffe3), moves(0xffe9)]).toEqual([[true, false], [true, false]]);
    await expect(page.locator(".console header summary").first()).toBeFocused();
    await page.keyboard.up("AltLeft");
    await page.keyboard.up("ControlLeft");
  });

  test("a screen takes keys, is saved as a screenshot, and reconnects after a restart of the machine", async ({ page }) => {
    await page.goto(address);
    await expect(page.getByRole("link", { name: "Screen" })).toHaveAttribute("aria-current", "true");
    await expect(state(page)).toHaveText("Connected");
    const screen = page.getByRole("img", { name: "Screen of tiny" });
    /** The number of colours of the screen; a screen with content has more than one. */
    const colours = () =>
      screen.evaluate((canvas: HTMLCanvasElement) => {
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true })!;
        copy.drawImage(canvas, 0, 0);
        const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
        return new Set(new Uint32Array(data.buffer)).size;
      });
    await expect.poll(colours, { timeout: 30_000 }).toBeGreaterThan(1);
    // The shell on the screen writes a file, which the shell on the serial line reads.
    await page.getByText("Type text").click();
    await page.getByLabel("Text to send as keystrokes").fill("echo Up-$((7 * 7)) > /tmp/typed\n");
    await press(page, "Send keystrokes");
    // The state is "Typing" until the last key was sent.
    await expect(state(page)).toHaveText("Connected");
    const saved = page.waitForEvent("download");
    await press(page, "Save screenshot");
    expect(readFileSync(await (await saved).path()).subarray(1, 4).toString()).toBe("PNG");
    await page.getByRole("link", { name: "Serial 0" }).click();
    await expect(state(page)).toHaveText("Connected");
    await type(page, "cat /tmp/typed");
    await expect(terminal(page)).toContainText("Up-49");
    await page.getByRole("link", { name: "Screen" }).click();
    await expect(state(page)).toHaveText("Connected");
    daemon.virsh("destroy", "tiny");
    await expect(page.getByText("tiny is not running. Start it first.")).toBeVisible();
    await press(page, "Start");
    await expect(state(page)).toHaveText("Connected");
    await expect.poll(colours, { timeout: 30_000 }).toBeGreaterThan(1);
  });

  test("a console in use elsewhere, or of an unreachable server, opens as soon as possible", async ({ page }) => {
    // The console is in use in a terminal.
    const other = daemon.virshLater("console", "tiny").catch(() => "");
    await page.goto(`${address}?show=serial0`);
    await expect(state(page)).toContainText("Connected");
    await server.stop();
    await expect(state(page)).toContainText("Retrying in");
    server = await server.again();
    await expect(state(page)).toHaveText("Connected", { timeout: 30_000 });
    await type(page, "echo back-$((5 * 5))");
    await expect(terminal(page)).toContainText("back-25");
    void other;
  });

  test("without JavaScript the virsh command for the console is shown", async ({ browser }) => {
    const context = await browser.newContext({ javaScriptEnabled: false });
    const page = await context.newPage();
    await page.goto(`${address}?show=serial0`);
    await expect(page.getByText("The console needs JavaScript.")).toContainText(`virsh -c '${daemon.uri}' console 'tiny'`);
    await context.close();
  });

  test("a viewer cannot open a console, and removing the account closes it", async ({ page }) => {
    await server.stop();
    const folder = daemon.folder;
    server = await new Server(["--connect", `atlas=${daemon.uri}`, "--auth", "auto", "--data", `${folder}/data`]).start();
    await server.account("jane", "operator");
    await server.account("vera", "viewer");
    const path = new URL(address).pathname;
    await page.goto(`${server.url}${path}?show=serial0`);
    await logIn(page, "jane");
    await expect(state(page)).toHaveText("Connected");
    server.verb(["user", "remove", "jane"]);
    await expect(state(page)).toContainText("You no longer have access to this console", { timeout: 15_000 });
    await page.goto(`${server.url}${path}?show=serial0`);
    await logIn(page, "vera");
    await expect(page.getByRole("heading", { name: "You may not open consoles" })).toBeVisible();
    await expect(page.locator("machine-console")).toHaveCount(0);
  });

  for (const colorScheme of ["light", "dark"] as const) {
    test(`the console page is accessible (${colorScheme})`, async ({ page }) => {
      await page.emulateMedia({ colorScheme });
      for (const show of ["screen", "serial0"]) {
        await page.goto(`${address}?show=${show}`);
        await expect(state(page)).toHaveText("Connected");
        const { violations } = await new AxeBuilder({ page }).analyze();
        expect(violations.map((violation) => `${show}: ${violation.id} ${violation.nodes.map((node) => node.html)}`)).toEqual([]);
      }
      // The console is no keyboard trap.
      await page.getByRole("textbox", { name: "Serial 0 of tiny" }).focus();
      await page.keyboard.press("Control+Alt+End");
      await expect(page.getByText("Type text")).toBeFocused();
    });
  }
});
