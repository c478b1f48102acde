// Guest details and actions, live, from a real guest agent.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import AxeBuilder from "@axe-core/playwright";
import { expect, live, press, refused, test, Daemon, row, Server } from "../support.ts";

test("the tab shows guest details, or why they are unavailable", async ({ page, demo }) => {
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
    // Without a reload: the page is updated when the agent connects.
    const about = page.getByRole("region", { name: "About the guest" });
    await expect(about).toContainText(/Kernel/, { timeout: 30_000 });
    await expect(about).toContainText("tiny");
    await expect(page.getByRole("button", { name: "Set clock" })).not.toHaveAttribute("aria-disabled", "true");
    const { violations } = await new AxeBuilder({ page }).analyze();
    expect(violations.map((violation) => `${violation.id} ${violation.nodes[0].html}`)).toEqual([]);
    // This guest has no passwords, so its agent refuses; the password is stored nowhere.
    await page.getByLabel("Guest user").fill("root");
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
    // Frozen until thawed; the freeze is a task that all viewers see.
    // The refused password is still in its form, and the new table appears all the same.
    await expect(page.getByLabel("New password")).toHaveValue("tiny-secret-7");
    const mount = { path: "/bin/busybox", arg: ["sh", "-c", "modprobe ext4; mount -t ext4 /dev/vda /mnt"] };
    daemon.virsh("qemu-agent-command", "tiny", JSON.stringify({ execute: "guest-exec", arguments: mount }));
    await expect(page.getByRole("table", { name: "File systems" })).toContainText("/mnt", { timeout: 45_000 });
    const status = () => daemon.virsh("qemu-agent-command", "tiny", '{"execute":"guest-fsfreeze-status"}');
    // Invalid input is not sent, or is reported at its field.
    await page.getByLabel("Guest user").fill("ro:ot");
    await page.getByLabel("New password").fill("tiny-secret-8");
    await press(page, "Set password");
    await refused(page, true, /must be 1 to 64 characters/);
    // A page being edited is not updated, so the fields are cleared.
    for (const field of ["Guest user", "New password"]) await page.getByLabel(field).fill("");
    const seconds = page.getByLabel("Thaw automatically after (seconds)");
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
    // Keys: none, an invalid one, a valid one with markup in its comment, and none again.
    const keys = page.getByRole("region", { name: "SSH keys" });
    await press(keys, "Show keys");
    await expect(keys).toContainText("No SSH keys for root.");
    await keys.getByLabel("Public key").fill("-----BEGIN OPENSSH PRIVATE KEY-----");
    await press(keys, "Add key");
    await refused(page, true, /this is a private key/);
    await keys.getByLabel("Public key").fill("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ <i>me</i>");
    await press(keys, "Add key");
    await expect(keys.getByRole("list", { name: "Keys of root" })).toContainText("<i>me</i>");
    await keys.getByRole("button", { name: /^Remove/ }).click();
    await expect(keys).toContainText("No SSH keys for root.");
    daemon.virsh("destroy", "tiny");
    await expect(page.getByRole("heading", { name: "The machine is off" })).toBeVisible();
  } finally {
    await server.stop();
    daemon.stop();
  }
  await page.goto(`${demo.url}/vms`);
  await row(page, "web-01").getByRole("link", { name: "web-01" }).click();
  await page.getByRole("link", { name: "Guest" }).click();
  await expect(page.getByRole("heading", { name: "Guest agent not connected" })).toBeVisible();
});
