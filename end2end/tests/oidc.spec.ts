// Sign-in with a real OpenID Connect provider, which runs in this test.
import { createServer, type Server as HttpServer } from "node:http";
import { type AddressInfo } from "node:net";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Page } from "@playwright/test";
import { Provider } from "oidc-provider";
import { expect, list, logIn, Server, test } from "../support.ts";

/** The provider's users and their groups. */
const people: Record<string, string[]> = { jane: ["staff"], root: ["staff", "vm-admins"], eve: ["visitors"] };

/** A provider for a server at an address; it accepts any user name. */
async function provider(back: () => string): Promise<{ issuer: string; stop: () => void }> {
  let inner: Provider;
  const http: HttpServer = createServer((request, response) => inner.callback()(request, response));
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const issuer = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  inner = new Provider(issuer, {
    clients: [{ client_id: "belvedere", client_secret: "very secret", redirect_uris: [back()], token_endpoint_auth_method: "client_secret_basic" }],
    scopes: ["openid", "profile", "email", "groups"],
    claims: { openid: ["sub"], profile: ["preferred_username"], groups: ["groups"] },
    findAccount: (_: unknown, id: string) => ({ accountId: id, claims: () => ({ sub: `sub-${id}`, preferred_username: id, groups: people[id] ?? [] }) }),
    pkce: { required: () => true },
    cookies: { keys: ["a key of this test"] },
  });
  return { issuer, stop: () => http.close() };
}

/** Blocks the web fonts of the provider's own pages. */
async function withoutFonts(page: Page): Promise<Page> {
  await page.route(/fonts/, (route) => route.fulfill({ contentType: "text/css", body: "" }));
  return page;
}

/** Signs in at the provider and gives consent. */
async function sayToProvider(page: Page, name: string): Promise<void> {
  await page.getByPlaceholder("Enter any login").fill(name);
  await page.getByPlaceholder("and password").fill("anything");
  await page.getByRole("button", { name: "Sign-in" }).click();
  await page.getByRole("button", { name: "Continue" }).click();
}

test("sign-in with a provider assigns the role of the user's groups and refuses others", async ({ page, browser, script }) => {
  const folder = mkdtempSync(join(tmpdir(), "bv-"));
  const secret = join(folder, "secret");
  writeFileSync(secret, "very secret\n", { mode: 0o600 });
  // The provider needs the redirect URI before it starts, and the server needs the provider.
  const port = 20_000 + Math.floor(Math.random() * 10_000);
  const { issuer, stop } = await provider(() => `http://127.0.0.1:${port}/login/provider/back`);
  const server = await new Server(
    ["--demo", "--data", join(folder, "data"), "--oidc-issuer", issuer, "--oidc-client", "belvedere", "--oidc-secret-file", secret, "--oidc-role", "viewer=staff", "--oidc-role", "admin=vm-admins"],
    port,
  ).start();
  await server.account("root", "admin");

  await withoutFonts(page);
  await page.goto(`${server.url}/vms?state=running`);
  await page.getByRole("link", { name: /Sign in with 127/ }).click();
  await sayToProvider(page, "jane");
  await expect(page).toHaveURL(`${server.url}/vms?state=running`);
  await expect(list(page)).toBeVisible();
  await page.locator("details.account summary").click();
  await expect(page.getByText("Role: viewer")).toBeVisible();

  // In another browser, eve has no role, and root is the name of another account.
  for (const [name, why] of [["eve", "eve has no role"], ["root", "is used by another account"]]) {
    const other = await withoutFonts(await (await browser.newContext({ javaScriptEnabled: script })).newPage());
    await other.goto(`${server.url}/login`);
    await other.getByRole("link", { name: /Sign in with/ }).click();
    await sayToProvider(other, name);
    await expect(other.getByRole("alert")).toContainText(why);
    await other.goto(`${server.url}/vms`);
    await expect(other.getByRole("heading", { name: "Sign in" })).toBeVisible();
    await other.context().close();
  }

  // A sign-in cannot be completed by another browser, nor twice.
  const stranger = await (await browser.newContext({ javaScriptEnabled: script })).newPage();
  await stranger.goto(`${server.url}/login/provider/back?code=x&state=${"0".repeat(64)}`);
  await expect(stranger.getByRole("alert")).toContainText("was not started in this browser");
  await stranger.goto(`${server.url}/login`);
  await logIn(stranger, "root");
  await stranger.goto(`${server.url}/audit`);
  await expect(stranger.getByRole("row").filter({ hasText: "Signed in with a provider" }).filter({ hasText: "jane" })).toBeVisible();
  await stranger.context().close();

  // Without the provider, sign-in with a password still works.
  stop();
  await server.stop();
});
