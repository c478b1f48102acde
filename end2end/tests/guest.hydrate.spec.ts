// What a guest says of itself, live, from a real agent in a real guest.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import AxeBuilder from "@axe-core/playwright";
import { expect, live, press, refused, test, Daemon, row, Server } from "../support.ts";

test("the tab tells what the guest says, and why it does not", async ({ page, demo }) => {
  const daemon = new Daemon().start();
  const disk = `${daemon.folder}/disk.raw`;
  writeFileSync(disk, Buffer.alloc(8 << 20));
  execFileSync("mkfs.ext4", ["-q", disk]);
  daemon.guest("tiny", `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${disk}'/><target dev='vda' bus='virtio'/></disk>`);
  const server = await new Server(["--connect", `atlas=${daemon.uri}`]).start();
  try {
    await page.goto(`${server.url}/vms`);
    await row(page, "tiny").getByRole("link", { name: "tiny" }).click();
    await page.getByRole("link", { name: "Guest" }).click();
    await expect(page.getByRole("heading", { name: "The machine is off" })).toBeVisible();
    await expect(page.getByRole("button", { name: "Set clock" })).toHaveAttribute("title", /not running/);
    await live(page);
    daemon.virsh("start", "tiny");
    // Nobody loads the page again: it is drawn anew when the agent comes.
    const about = page.getByRole("region", { name: "About the guest" });
    await expect(about).toContainText(/Kernel/, { timeout: 30_000 });
    await expect(about).toContainText("tiny");
    await expect(page.getByRole("button", { name: "Set clock" })).not.toHaveAttribute("aria-disabled", "true");
    const { violations } = await new AxeBuilder({ page }).analyze();
    expect(violations.map((violation) => `${violation.id} ${violation.nodes[0].html}`)).toEqual([]);
    // This guest has no passwords, so its agent refuses; what was sent is written nowhere.
    await page.getByLabel("User in the guest").fill("root");
    await page.getByLabel("New password").fill("tiny-secret-7");
    await press(page, "Set password");
    await expect(page.getByRole("region", { name: "Notices" })).toContainText(/tiny/);
    const id = (await server.inventory()).hosts.atlas.domains[0].id;
    await expect.poll(async () => (await (await fetch(`${server.url}/api/v1/tasks?target=${id}`)).json()).tasks[0]?.outcome).toBe("failed");
    for (const path of ["/api/v1/audit", "/api/v1/audit.jsonl", "/api/v1/tasks", "/api/v1/events?limit=500"]) {
      const text = await (await fetch(`${server.url}${path}`)).text();
      expect(text).not.toContain("tiny-secret-7");
    }
    expect(await (await fetch(`${server.url}/api/v1/audit`)).text()).toContain("setGuestPassword");
    const told = await (await fetch(`${server.url}/api/v1/domains/atlas/${id}/guest`)).json();
    expect(told.kernel).toMatch(/^\d+\./);
    // Frozen until somebody thaws it; what is going on is a task that everybody sees.
    const mount = { path: "/bin/busybox", arg: ["sh", "-c", "modprobe ext4; mount -t ext4 /dev/vda /mnt"] };
    daemon.virsh("qemu-agent-command", "tiny", JSON.stringify({ execute: "guest-exec", arguments: mount }));
    await expect(page.getByRole("table", { name: "File systems" })).toContainText("/mnt", { timeout: 45_000 });
    const status = () => daemon.virsh("qemu-agent-command", "tiny", '{"execute":"guest-fsfreeze-status"}');
    // What cannot be right is sent nowhere, or said with the field.
    await page.getByLabel("User in the guest").fill("ro:ot");
    await page.getByLabel("New password").fill("tiny-secret-8");
    await press(page, "Set password");
    await refused(page, true, /a guest user name has 1 to 64 characters/);
    // A page waits for whoever types; nobody does any more.
    for (const field of ["User in the guest", "New password"]) await page.getByLabel(field).fill("");
    const seconds = page.getByLabel("Seconds at most");
    for (const wrong of ["0", "601", ""]) {
      await seconds.fill(wrong);
      await press(page, "Freeze file systems");
      expect(await seconds.evaluate((field: HTMLInputElement) => field.validity.valid)).toBe(false);
    }
    expect(await (await fetch(`${server.url}/api/v1/tasks?target=${id}`)).text()).not.toContain("freezeFileSystems");
    await seconds.fill("300");
    await press(page, "Freeze file systems");
    await expect.poll(status).toContain("frozen");
    await expect(page.getByRole("heading", { name: "The guest's file systems are frozen" })).toBeVisible();
    await press(page, "Thaw file systems");
    await expect.poll(status).toContain("thawed");
    await expect(about).toContainText(/Kernel/);
    // Keys: none, a wrong one, a right one whose name is markup, and none again.
    const keys = page.getByRole("region", { name: "SSH keys" });
    await press(keys, "Show keys");
    await expect(keys).toContainText("No key lets anybody in as root.");
    await keys.getByLabel("Public key").fill("-----BEGIN OPENSSH PRIVATE KEY-----");
    await press(keys, "Add key");
    await refused(page, true, /this is the private key/);
    await keys.getByLabel("Public key").fill("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ <i>me</i>");
    await press(keys, "Add key");
    await expect(keys.getByRole("list", { name: "Keys of root" })).toContainText("<i>me</i>");
    await keys.getByRole("button", { name: /^Remove/ }).click();
    await expect(keys).toContainText("No key lets anybody in as root.");
    daemon.virsh("destroy", "tiny");
    await expect(page.getByRole("heading", { name: "The machine is off" })).toBeVisible();
  } finally {
    await server.stop();
    daemon.stop();
  }
  await page.goto(`${demo.url}/vms`);
  await row(page, "web-01").getByRole("link", { name: "web-01" }).click();
  await page.getByRole("link", { name: "Guest" }).click();
  await expect(page.getByRole("heading", { name: "The guest does not answer" })).toBeVisible();
});
