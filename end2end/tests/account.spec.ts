// The account pages, with and without JavaScript: the first account, the user's own password, second
// factor and sessions, and administration of all accounts.
import { createHmac } from "node:crypto";
import { type Page } from "@playwright/test";
import { expect, logIn, password, Server, test } from "../support.ts";

/** The TOTP code of a secret, a number of steps from now (RFC 6238). */
function codeOf(letters: string, steps = 0): string {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...letters.replace(/\s/g, "")].map((letter) => alphabet.indexOf(letter).toString(2).padStart(5, "0")).join("");
  const secret = Buffer.from(bits.match(/.{8}/g)!.map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const digest = createHmac("sha1", secret).update(counter).digest();
  return String((digest.readUInt32BE(digest[19] & 15) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

async function enter(page: Page, server: Server, path: string, name = "root"): Promise<void> {
  await page.goto(server.url + path);
  await logIn(page, name);
  await expect(page.getByRole("navigation", { name: "Main" })).toBeVisible();
}

async function logOut(page: Page): Promise<void> {
  await page.locator("details.account summary").click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();
}

/** Expects an audit record of an action on an object. */
async function recorded(page: Page, server: Server, what: string, object: string): Promise<void> {
  const line = page.getByRole("table", { name: "Audit" }).getByRole("row").filter({ hasText: what }).filter({ hasText: object });
  await expect(async () => {
    await page.goto(`${server.url}/audit`);
    await expect(line.first()).toBeVisible({ timeout: 1_000 });
  }).toPass();
}

test("the startup link signs in without an account", async ({ page }) => {
  const server = await new Server(["--connect", "lab=test:///default", "--auth", "auto"]).start();
  try {
    const link = /(http\S+\/setup\/\w+)/.exec(server.said)![1];
    await page.goto(server.url);
    await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();
    await page.goto(link);
    await page.getByRole("link", { name: "Continue without an account" }).click();
    await expect(page.getByRole("heading", { name: "Overview" })).toBeVisible();
    await expect(page.getByText("No accounts")).toBeVisible();
    await page.goto(`${server.url}/vms`);
    await expect(page.getByRole("row", { name: "test" })).toBeVisible();
  } finally {
    await server.stop();
  }
});

test("the startup link creates the first account, once", async ({ page, demo }) => {
  const link = /(http\S+\/setup\/\w+)/.exec(demo.said)![1];
  await page.goto(demo.url);
  await expect(page.getByText("Open to everyone")).toBeVisible();
  await page.goto(link);
  await page.getByLabel("Name").fill("root");
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Create account" }).click();
  await expect(page.getByRole("heading", { name: "Overview" })).toBeVisible();
  await expect(page.getByText("Open to everyone")).toHaveCount(0);
  await recorded(page, demo, "Account was added", "root");
  await page.goto(link);
  await expect(page.getByRole("alert")).toContainText("has already been used");
});

test("an admin adds an account, changes its role and removes it", async ({ page, demo, browser }) => {
  await demo.account("root", "admin");
  await enter(page, demo, "/account/users");
  // Invalid input is kept, with the error beside it.
  await page.getByLabel("Name").fill("<jane>");
  await page.getByLabel("Scope", { exact: true }).fill("atlas #web");
  await page.getByLabel("Role", { exact: true }).selectOption("operator");
  await page.getByRole("button", { name: "Add" }).click();
  await expect(page.locator("small.wrong")).toContainText("letters");
  await expect(page.getByLabel("Name")).toHaveValue("<jane>");
  await expect(page.getByLabel("Scope", { exact: true })).toHaveValue("atlas #web");
  await expect(page.getByLabel("Role", { exact: true })).toHaveValue("operator");
  await page.getByLabel("Role", { exact: true }).selectOption("viewer");
  await page.getByLabel("Scope", { exact: true }).fill("");
  await page.getByLabel("Name").fill("jane");
  await page.getByRole("button", { name: "Add" }).click();
  const link = await page.getByText(/\/login\//).textContent();
  await page.getByRole("link", { name: "Done" }).click();
  const jane = page.getByRole("table", { name: "Accounts" }).getByRole("row", { name: /jane/ });
  await expect(jane).toContainText("Sign-in link only");
  // A scope with unknown names hides everything, which is reported.
  await jane.getByLabel("Scope of jane").fill("zeus #nope");
  await jane.getByRole("button", { name: "Save: jane" }).click();
  await expect(jane).toContainText("Not found: host zeus, tag #nope.");
  await jane.getByLabel("Scope of jane").fill("");
  await jane.getByRole("button", { name: "Save: jane" }).click();
  await expect(jane).not.toContainText("Not found");

  const hers = await (await browser.newContext({ javaScriptEnabled: true })).newPage();
  await hers.goto(link!);
  await hers.getByRole("button", { name: "Sign in as jane" }).click();
  await hers.goto(`${demo.url}/account`);
  await expect(hers.getByLabel("Current password")).toHaveCount(0);
  await hers.getByLabel("New password").fill("another horse battery");
  await hers.getByRole("button", { name: "Change password" }).click();
  await expect(hers.getByRole("heading", { name: "Your account" })).toBeVisible();
  await hers.goto(`${demo.url}/account/users`);
  await expect(hers.getByRole("alert")).toContainText("may not manage accounts");
  await hers.goto(demo.url);

  await page.reload();
  await expect(jane).toContainText("Set");
  await jane.getByLabel("Role of jane").selectOption("operator");
  await jane.getByRole("button", { name: "Save: jane" }).click();
  await expect(jane.getByLabel("Role of jane")).toHaveValue("operator");
  await jane.getByRole("button", { name: "Remove: jane" }).click();
  await expect(page.getByRole("heading", { name: "Remove jane?" })).toBeVisible();
  await page.getByRole("button", { name: "Remove" }).click();
  await expect(jane).toHaveCount(0);
  // Her open page leads to sign-in.
  await hers.reload();
  await expect(hers.getByRole("heading", { name: "Sign in" })).toBeVisible();
  for (const what of ["Account was added", "Sign-in link was created", "Signed in with a sign-in link", "Password was changed", "Role was changed", "Account was removed"]) {
    await recorded(page, demo, what, "jane");
  }
  // The last admin cannot be removed.
  await page.goto(`${demo.url}/account/users`);
  await page.getByLabel("Role of root").selectOption("viewer");
  await page.getByRole("button", { name: "Save: root" }).click();
  await expect(page.getByRole("alert")).toContainText("root is the only admin");
  await hers.context().close();
});

test("a second factor is required, each code works once, and recovery codes work", async ({ page, demo }) => {
  await demo.account("root", "admin");
  await enter(page, demo, "/account");
  await page.getByRole("button", { name: "Turn on" }).click();
  const letters = (await page.locator("code").textContent())!;
  await expect(page.getByRole("img", { name: "QR code" })).toBeVisible();
  await page.getByLabel("Authenticator code").fill("000000");
  await page.getByRole("button", { name: "Turn on" }).click();
  await expect(page.getByRole("alert")).toContainText("wrong code");
  await expect(page.locator("code")).toHaveText(letters);
  const used = codeOf(letters);
  await page.getByLabel("Authenticator code").fill(used);
  await page.getByRole("button", { name: "Turn on" }).click();
  await expect(page.getByRole("heading", { name: "Recovery codes" })).toBeVisible();
  const recovery = await page.locator("code").allTextContents();
  expect(new Set(recovery).size).toBe(10);
  await page.getByRole("link", { name: "Done" }).click();
  await expect(page.getByText("10 recovery codes left")).toBeVisible();

  await logOut(page);
  await logIn(page, "root");
  const code = page.getByLabel("Authenticator code or recovery code");
  for (const wrong of [used, "123", recovery[0].slice(1)]) {
    await code.fill(wrong);
    await page.getByRole("button", { name: "Sign in" }).click();
    await expect(page.getByRole("alert")).toContainText("rong or already used");
  }
  // The code of the next step is accepted, as clocks differ.
  await code.fill(codeOf(letters, 1));
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("navigation", { name: "Main" })).toBeVisible();

  for (const works of [true, false]) {
    await logOut(page);
    await logIn(page, "root");
    await code.fill(recovery[3].toUpperCase());
    await page.getByRole("button", { name: "Sign in" }).click();
    if (!works) await expect(page.getByRole("alert")).toBeVisible();
    else await expect(page.getByRole("navigation", { name: "Main" })).toBeVisible();
  }
  await code.fill(recovery[4]);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.goto(`${demo.url}/account`);
  await expect(page.getByText("8 recovery codes left")).toBeVisible();
  // A second factor cannot be replaced from an existing session.
  const replaced = await page.request.post(`${demo.url}/manage/factor`, { form: { do: "begin" }, headers: { "sec-fetch-site": "same-origin" } });
  expect(await replaced.text()).toContain("already has a second factor");
  await page.getByLabel("Authenticator code or recovery code").fill(recovery[5]);
  await page.getByRole("button", { name: "Turn off" }).click();
  await expect(page.getByRole("button", { name: "Turn on" })).toBeVisible();
  await recorded(page, demo, "Second factor was turned off", "root");
  await recorded(page, demo, "Signed in with a recovery code", "root");
  await recorded(page, demo, "Sign-in failed", "root");
});

test("changing the password needs the current one and ends the other sessions", async ({ page, demo, browser }) => {
  await demo.account("root", "admin");
  await enter(page, demo, "/account");
  const other = await (await browser.newContext({ javaScriptEnabled: false })).newPage();
  await enter(other, demo, "/account");
  await expect(other.getByRole("table", { name: "Your sessions" }).locator("tbody tr")).toHaveCount(2);
  const change = async (old: string) => {
    await page.goto(`${demo.url}/account`);
    await page.getByLabel("Current password").fill(old);
    await page.getByLabel("New password").fill("a much newer battery");
    await page.getByRole("button", { name: "Change password" }).click();
  };
  await change("not the right one");
  await expect(page.getByRole("alert")).toContainText("Current password: wrong password");
  await change(password);
  await expect(page.getByRole("table", { name: "Your sessions" }).locator("tbody tr")).toHaveCount(1);
  await other.reload();
  await expect(other.getByRole("heading", { name: "Sign in" })).toBeVisible();
  await logIn(other, "root");
  await expect(other.getByRole("alert")).toContainText("Wrong user name or password");
  await logIn(other, "root", "a much newer battery");
  await expect(other.getByRole("heading", { name: "Your account" })).toBeVisible();
  // An admin sees all sessions and ends one.
  await page.goto(`${demo.url}/account/sessions`);
  const rows = page.getByRole("table", { name: "All sessions" }).locator("tbody tr");
  await expect(rows).toHaveCount(2);
  await page.getByRole("button", { name: /End session of root/ }).click();
  await expect(rows).toHaveCount(1);
  await other.reload();
  await expect(other.getByRole("heading", { name: "Sign in" })).toBeVisible();
  await other.context().close();
});

test("a token is shown once, works, and is revoked", async ({ page, demo }) => {
  await demo.account("root", "admin");
  await enter(page, demo, "/account/tokens");
  await expect(page.getByText("No tokens")).toBeVisible();
  await page.getByLabel("Name").fill("ci");
  await page.getByLabel("Expires after (days)").fill("30");
  await page.getByRole("button", { name: "Create token" }).click();
  const secret = (await page.locator("code").textContent())!;
  const status = async () => (await fetch(`${demo.url}/api/v1/inventory`, { headers: { authorization: `Bearer ${secret}` } })).status;
  expect(await status()).toBe(200);
  await page.getByRole("link", { name: "Done" }).click();
  await expect(page.getByRole("row", { name: /ci/ })).toContainText("viewer");
  expect(await page.content()).not.toContain(secret);
  await page.getByRole("button", { name: "Revoke: ci" }).click();
  await page.getByRole("button", { name: "Revoke" }).click();
  await expect(page.getByText("No tokens")).toBeVisible();
  expect(await status()).toBe(401);
  await page.getByLabel("Name").fill("root");
  await page.getByRole("button", { name: "Create token" }).click();
  await expect(page.getByRole("alert")).toContainText("named root already");
});
