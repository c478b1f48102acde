// TLS in browsers: a certificate created at the first start, HTTP/2, cookies that are never sent
// without TLS, and certificates replaced at run time.
import { copyFileSync, mkdtempSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { expect, expectState, list, logIn, password, row, Server, test } from "../support.ts";

test.use({ ignoreHTTPSErrors: true });

/** The fingerprint of the certificate that a server presents. */
function fingerprint(url: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.end();
    });
    socket.on("error", reject);
  });
}

/** A server with its own certificate, and its data directory. */
async function encrypted(...more: string[]): Promise<{ server: Server; folder: string }> {
  const folder = mkdtempSync(join(tmpdir(), "bv-"));
  return { server: await new Server(["--demo", "--data", folder, ...more]).start(), folder };
}

test("a certificate is created at the first start, its fingerprint is printed, and it is kept", async () => {
  const { server, folder } = await encrypted("--tls");
  expect(server.url).toMatch(/^https:/);
  const told = /fingerprint is (\S+)/.exec(server.said)![1];
  expect(await fingerprint(server.url)).toBe(told);
  expect(statSync(join(folder, "tls-key.pem")).mode & 0o077).toBe(0);
  await server.stop();
  const again = await server.again();
  expect(await fingerprint(again.url)).toBe(told);
  await again.stop();
});

test("over TLS everything uses HTTP/2, and the session cookie is sent only over TLS", async ({ page, script }) => {
  const { server } = await encrypted("--tls", "--auth", "on");
  const link = /(https\S+\/setup\/\w+)/.exec(server.said)![1];
  await page.goto(`${server.url}/vms`);
  await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();
  await page.goto(link);
  await page.getByLabel("Name").fill("root");
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Create account" }).click();
  await page.goto(`${server.url}/vms`);
  await expect(list(page)).toBeVisible();
  const [cookie] = (await page.context().cookies()).filter((cookie) => cookie.httpOnly);
  expect(cookie).toMatchObject({ name: "__Host-belvedere", secure: true, sameSite: "Strict", path: "/" });
  if (script) {
    await expect(page.getByRole("status")).toContainText("Live");
    expect(await page.evaluate(() => (performance.getEntriesByType("navigation")[0] as PerformanceNavigationTiming).nextHopProtocol)).toBe("h2");
    await row(page, "web-01").getByRole("button", { name: "Pause" }).click();
    await expectState(page, "web-01", "Paused");
  }
  // A link created over HTTP/2, without a Host header, has the right address.
  await page.goto(`${server.url}/account/users`);
  await page.getByLabel("Name").fill("jane");
  await page.getByRole("button", { name: "Add" }).click();
  const invitation = (await page.getByText(/\/login\//).textContent())!;
  expect(invitation.startsWith(`${server.url}/login/`), invitation).toBe(true);
  // With a self-signed certificate there is no HSTS, which would lock users out for a year.
  const answer = await page.request.get(`${server.url}/login`, { maxRedirects: 0 });
  expect(answer.headers()["strict-transport-security"]).toBeUndefined();
  await server.stop();
});

test("a replaced certificate is used without a restart, and an invalid one is ignored", async ({ page }) => {
  const [{ server: first, folder: one }, { server: second, folder: two }] = [await encrypted("--tls"), await encrypted("--tls")];
  const [old, renewed] = [await fingerprint(first.url), await fingerprint(second.url)];
  await first.stop();
  await second.stop();
  const files = mkdtempSync(join(tmpdir(), "bv-"));
  const [certificate, key] = [join(files, "c.pem"), join(files, "k.pem")];
  const put = (from: string) => {
    copyFileSync(join(from, "tls-certificate.pem"), certificate);
    copyFileSync(join(from, "tls-key.pem"), key);
  };
  put(one);
  const server = await new Server(["--demo", "--tls-cert", certificate, "--tls-key", key]).start();
  expect(await fingerprint(server.url)).toBe(old);
  const answer = await page.request.get(`${server.url}/healthz`);
  expect(answer.headers()["strict-transport-security"]).toContain("max-age=");
  writeFileSync(certificate, "half a certificate");
  await expect.poll(() => server.said, { timeout: 20_000 }).toContain("keeping the old one");
  expect(await fingerprint(server.url)).toBe(old);
  put(two);
  await expect.poll(() => fingerprint(server.url), { timeout: 20_000 }).toBe(renewed);
  await page.goto(`${server.url}/vms`);
  await expect(row(page, "web-01")).toBeVisible();
  await server.stop();
});

test("a server on a public address requires sign-in and enables TLS", async ({ page }) => {
  const folder = mkdtempSync(join(tmpdir(), "bv-"));
  const server = await new Server(["--demo", "--data", folder, "--listen", "0.0.0.0:0"]).start();
  const url = server.url.replace("0.0.0.0", "127.0.0.1");
  expect(url).toMatch(/^https:/);
  expect((await page.request.get(`${url}/api/v1/inventory`)).status()).toBe(401);
  await page.goto(`${url}/vms`);
  await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();
  server.verb(["user", "add", "root", "--role", "admin", "--password-stdin"], password);
  await logIn(page, "root");
  await expect(list(page)).toBeVisible();
  await server.stop();
});
