// Pictures of every page of a running service, in light and dark, wide and narrow.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { createRequire } from "node:module";

const { DECLIC_URL: base, DECLIC_PLAYWRIGHT, DECLIC_BROWSER, DECLIC_SHOTS: folder, DECLIC_GUARDED_URL: guarded } = process.env;
const { chromium } = createRequire(import.meta.url)(DECLIC_PLAYWRIGHT);
const executablePath = execFileSync("which", [DECLIC_BROWSER], { encoding: "utf8" }).trim();
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });

const ask = async (path) => (await fetch(`${base}/api/v1${path}`)).json();
const first = async (path) => (await ask(path)).items[0];

try {
  // The demo goes on sending for a moment; its last push leaves a run that waits for its image.
  for (let tries = 0; tries < 150; tries += 1) {
    const { items } = await ask("/runs?rule=deploy-staging&state=waiting&state=running");
    if (items.length > 0 && (await ask("/runs?rule=release")).items.length > 0) break;
    await new Promise((resolve) => { setTimeout(resolve, 200); });
  }
  const [deployed, failed, waiting] = [(await ask("/runs?state=succeeded&rule=deploy-staging")).items.at(-1), await first("/dead"), await first("/runs?rule=release")];
  const pages = {
    overview: "/", deliveries: "/deliveries", runs: "/runs", deployed: "/deployed", rules: "/rules", playground: "/playground",
    backtest: "/backtest", dead: "/dead", sources: "/sources", audit: "/audit", nothing: "/nowhere",
    "deliveries-none": "/deliveries?text=nowhere",
    ...(deployed && { delivery: `/deliveries/${deployed.delivery}`, run: `/runs/${deployed.id}`, rule: `/rules/${deployed.rule}` }),
    ...(failed && { "run-failed": `/runs/${failed.id}` }),
    ...(waiting && { "run-waiting": `/runs/${waiting.id}` }),
    ...(failed && { "playground-delivery": `/playground?delivery=${failed.delivery}` }),
  };
  // What is only there after something was done.
  const acts = {
    "backtest-difference": async (page) => {
      await page.goto("/backtest");
      const editor = page.locator("#text");
      await editor.fill((await editor.inputValue()).replace('paths: ["docs/**"]', 'paths: ["**"]').replace("page-somebody:", "wake-somebody:"));
      await page.getByRole("button", { name: "Compare" }).click();
      await page.locator("main section.card h2").first().waitFor();
    },
    "playground-faults": async (page) => {
      await page.goto("/playground");
      const editor = page.locator("#text");
      await editor.fill((await editor.inputValue()).replace("branches: [main]", "brnaches: [main]"));
      await page.getByText("did you mean `branches`?").waitFor();
    },
    "connection-lost": async (page) => {
      await page.route("**/api/v1/changes", (route) => route.abort());
      await page.goto("/deliveries");
      await page.getByText("The connection was lost.").waitFor();
      await page.unroute("**/api/v1/changes");
    },
    "sign-in": async (page) => { await page.goto(guarded); },
    "sign-in-wrong": async (page) => {
      await page.goto(guarded);
      await page.getByLabel("Token").fill("a guess of a token");
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByText("This token is not known.").waitFor();
    },
  };
  fs.mkdirSync(folder, { recursive: true });
  let taken = 0;
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1280, 360]) {
      const context = await browser.newContext({ baseURL: base, colorScheme, viewport: { width, height: 800 }, reducedMotion: "reduce" });
      const page = await context.newPage();
      for (const [name, path] of Object.entries(pages)) {
        await page.goto(path, { waitUntil: "load" });
        await page.screenshot({ path: `${folder}/${name}-${colorScheme}-${width}.png`, fullPage: true });
        taken += 1;
      }
      for (const [name, act] of Object.entries(acts)) {
        await act(page);
        await page.screenshot({ path: `${folder}/${name}-${colorScheme}-${width}.png`, fullPage: true });
        taken += 1;
      }
      await context.close();
    }
  }
  console.log(`${taken} pictures are in ${folder}`);
} finally {
  await browser.close();
}
