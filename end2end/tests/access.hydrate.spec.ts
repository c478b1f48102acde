// Every page passes axe's checks for WCAG 2.2 AA, light and dark, wide and narrow.
import AxeBuilder from "@axe-core/playwright";
import { expect, live, Server, test } from "../support.ts";

/** The addresses of pages by topic; a few per test, as axe takes its time. */
const pages: Record<string, (machine: string, task: string) => string[]> = {
  "of all machines": () => ["/", "/vms", "/vms?q=nothing-matches", "/hosts", "/nonsense"],
  "of one machine": (machine) => ["", "?range=1h", "/devices", "/history", "/xml"].map((tab) => `/vms/${machine}${tab}`),
  "of tasks, history and audit": (machine, task) => [
    "/tasks", `/tasks/${task}`, "/history", "/history/replay", "/history/errors", "/audit", "/audit?q=nothing-matches",
    `/confirm?do=forceOff&on=${machine}&back=/vms`,
  ],
};

for (const [about, addresses] of Object.entries(pages)) {
  for (const scheme of ["light", "dark"] as const) {
    for (const width of [1400, 390]) {
      test(`no page ${about} has accessibility violations, ${scheme}, ${width} wide`, async ({ page }) => {
        const server = await new Server(["--demo", "--connect", "dead=qemu+unix:///system?socket=/nonexistent"]).start();
        const machine = (await server.inventory()).hosts.demo.domains.find((domain: any) => domain.name === "db-replica").id;
        await page.emulateMedia({ colorScheme: scheme });
        await page.setViewportSize({ width, height: 900 });
        await server.command("demo", "web-01", { kind: "pause" });
        await server.command("demo", "web-01", { kind: "pause" });
        const { tasks } = await (await fetch(`${server.url}/api/v1/tasks`)).json();
        for (const path of addresses(`demo/${machine}`, tasks[0].taskId)) {
          await page.goto(server.url + path);
          await live(page);
          const { violations } = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]).analyze();
          const found = violations.map(({ id, nodes }) => `${path}: ${id}: ${nodes.slice(0, 3).map((node) => node.html).join(" | ")}`);
          expect(found).toEqual([]);
        }
        await server.stop();
      });
    }
  }
}
