// Networks: shown, created, given static addresses and deleted, with and without JavaScript.
import { expect, live, press, refused, test } from "../support.ts";
import type { Locator, Page } from "@playwright/test";

const networks = (page: Page) => page.getByRole("table", { name: "Networks" });
const row = (page: Page, name: string) =>
  networks(page).getByRole("row").filter({ has: page.getByRole("rowheader").getByText(name, { exact: true }) });

async function fill(page: Page | Locator, fields: Record<string, string>): Promise<void> {
  for (const [label, value] of Object.entries(fields)) await page.getByLabel(label, { exact: true }).fill(value);
}

test("a network is created, gets a static address, is stopped and deleted", async ({ page, demo, script }) => {
  await page.goto(`${demo.url}/networks`);
  await expect(page).toHaveTitle("Networks · Belvedere");
  await expect(row(page, "default")).toContainText("192.168.122.0/24");
  await expect(row(page, "lab")).toContainText("Isolated");
  await page.getByRole("link", { name: "New network" }).click();
  await page.getByLabel("Mode").selectOption("nat");
  await fill(page, { Name: "guests", "IPv4 gateway (CIDR)": "192.168.77.1/24", "DHCP range start": "192.168.77.10", "DHCP range end": "192.168.77.90" });
  await press(page, "Create network");
  await expect(page.getByRole("list", { name: "Results" })).toContainText("guests is created");
  await row(page, "guests").getByRole("link", { name: "guests" }).click();
  await expect(page.getByRole("group", { name: /guests on demo: NAT, 0 machines/ })).toBeVisible();
  await live(page);
  await fill(page.getByRole("region", { name: "Static addresses" }), { "MAC address": "52:54:00:77:00:01", Address: "192.168.77.20", Name: "web" });
  await press(page, "Set static address");
  const addresses = page.getByRole("table", { name: "Static addresses" });
  await expect(addresses.getByRole("row", { name: /192\.168\.77\.20/ })).toContainText("52:54:00:77:00:01");
  await press(addresses, "Remove 192.168.77.20");
  await expect(addresses).toHaveCount(0);
  const names = page.getByRole("table", { name: "DNS names" });
  for (const wrong of ["<b>", "-db", "a b/c"]) {
    await fill(page.getByRole("region", { name: "DNS names" }), { Address: "192.168.77.30", Names: wrong });
    await press(page, "Set DNS names");
    await refused(page, script, /1 to 16 names/);
  }
  await fill(page.getByRole("region", { name: "DNS names" }), { Address: "192.168.77.30", Names: "db, db.lab.example.org" });
  await press(page, "Set DNS names");
  await expect(names.getByRole("row", { name: /192\.168\.77\.30/ })).toContainText("db, db.lab.example.org");
  await press(names, "Remove names of 192.168.77.30");
  await expect(names).toHaveCount(0);
  await press(page, "Stop");
  await press(page, "Stop network");
  await expect(page.getByText("Inactive", { exact: true })).toBeVisible();
  await press(page, "Delete");
  await press(page, "Delete network");
  await page.goto(`${demo.url}/networks`);
  await expect(row(page, "default")).toBeVisible();
  await expect(row(page, "guests")).toHaveCount(0);
});

test("overlapping subnets and addresses outside are refused with the reason", async ({ page, demo, script }) => {
  const wrong = async (fields: Record<string, string>, why: RegExp) => {
    await page.goto(`${demo.url}/networks/new`);
    await page.getByLabel("Mode").selectOption("nat");
    await fill(page, { Name: "wrong", ...fields });
    await live(page);
    await press(page, "Create network");
    await refused(page, script, why);
    // The input is kept with the error beside it, not in the address.
    await expect(page.getByLabel("Name", { exact: true })).toHaveValue("wrong");
    for (const [label, text] of Object.entries(fields)) await expect(page.getByLabel(label)).toHaveValue(text);
    await expect(page.getByLabel("Mode")).toHaveValue("nat");
    expect(page.url()).not.toContain("overlaps");
  };
  await wrong({ "IPv4 gateway (CIDR)": "192.168.122.129/25" }, /overlaps 192\.168\.122\.0\/24 of network default/);
  await wrong({ "IPv4 gateway (CIDR)": "192.168.88.1/24", "DHCP range start": "192.168.89.2", "DHCP range end": "192.168.89.9" }, /not in 192\.168\.88\.0\/24/);
  await wrong({ "IPv4 gateway (CIDR)": "192.168.88.0/24" }, /network or broadcast address/);
  await wrong({ "IPv4 gateway (CIDR)": "<b>" }, /such as 192\.168\.50\.1\/24/);
  await page.goto(`${demo.url}/networks`);
  await expect(row(page, "wrong")).toHaveCount(0);
});

test("an invalid static address is refused with the reason", async ({ page, demo, script }) => {
  await page.goto(`${demo.url}/networks`);
  await row(page, "default").getByRole("link", { name: "default" }).click();
  await live(page);
  const wrong = async (mac: string, address: string, why: RegExp) => {
    await fill(page.getByRole("region", { name: "Static addresses" }), { "MAC address": mac, Address: address });
    await press(page, "Set static address");
    await refused(page, script, why);
  };
  await wrong("52:54:00:77:00", "192.168.122.20", /must be a MAC address such as/);
  await wrong("53:54:00:77:00:01", "192.168.122.20", /multicast MAC address/);
  await wrong("52:54:00:77:00:01", "192.168.123.20", /192\.168\.123\.20 is in no subnet/);
  await wrong("52:54:00:77:00:01", "<b>", /must be an IP address/);
  await expect(page.getByRole("table", { name: "Static addresses" }).getByRole("row", { name: /52:54:00:77/ })).toHaveCount(0);
});
