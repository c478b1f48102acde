// One host: what it is made of, with and without JavaScript.
import AxeBuilder from "@axe-core/playwright";
import { expect, Daemon, live, Server, test } from "../support.ts";

test("the page of a host tells its parts, devices and what it can run", async ({ page, demo, script }) => {
  await page.goto(`${demo.url}/hosts`);
  await page.getByRole("main").getByRole("link", { name: "demo" }).click();
  await expect(page).toHaveURL(/\/hosts\/demo$/);
  await expect(page.getByRole("heading", { name: "demo", level: 1 })).toBeVisible();
  const devices = page.getByRole("table", { name: "Devices" });
  await expect(devices.getByRole("row", { name: /0000:01:00\.0/ })).toContainText("NVIDIA GP104");
  await expect(page.getByRole("region", { name: "About the host" })).toContainText("off: turn it on");
  await expect(page.getByRole("heading", { name: "Machines it can run" })).toBeVisible();
  if (script) {
    await live(page);
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      const { violations } = await new AxeBuilder({ page }).analyze();
      expect(violations.map((violation) => `${violation.id} ${violation.nodes[0].html}`)).toEqual([]);
    }
  }
  await page.goto(`${demo.url}/hosts/none`);
  await expect(page.getByRole("heading", { name: "This host is not there" })).toBeVisible();
});

test("a real host tells its devices and NUMA cells", async ({ page }) => {
  const daemon = new Daemon().start();
  const server = await new Server(["--connect", `atlas=${daemon.uri}`]).start();
  try {
    await page.goto(`${server.url}/hosts/atlas`);
    await expect(page.getByRole("table", { name: "NUMA cells" }).getByRole("row")).not.toHaveCount(1);
    await expect(page.getByRole("table", { name: "Devices" }).getByRole("row", { name: /pci 0000:/ }).first()).toBeVisible();
    await expect(page.getByRole("region", { name: "x86_64" })).toContainText("qemu");
    await page.getByRole("region", { name: "x86_64" }).getByText(/types$/).click();
    await expect(page.getByRole("region", { name: "x86_64" })).toContainText("pc-q35");
  } finally {
    await server.stop();
    daemon.stop();
  }
});
