// A person at the console of `declic demo`: is refused with a wrong token, sees a push arrive, asks why, retries a run, answers one that
// asks, edits a rule; and axe looks at every page.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import crypto from "node:crypto";
import fs from "node:fs";
import { createRequire } from "node:module";

const { DECLIC_URL: base, DECLIC_GUARDED_URL: guarded, DECLIC_OPERATOR, DECLIC_AXE, DECLIC_PLAYWRIGHT, DECLIC_BROWSER, DECLIC_WEBHOOK_SECRET } =
  process.env;
const { chromium } = createRequire(import.meta.url)(DECLIC_PLAYWRIGHT);
const axe = fs.readFileSync(DECLIC_AXE, "utf8");
const executablePath = execFileSync("which", [DECLIC_BROWSER], { encoding: "utf8" }).trim();
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });

const push = async (ref, id, message, sha = "b".repeat(40)) => {
  const commit = { id: sha, message, author: { name: "Mona", username: "mona" }, added: [], removed: [], modified: ["src/main.rs"] };
  const body = JSON.stringify({
    ref: `refs/${ref}`, before: "a".repeat(40), after: sha, created: false, deleted: false, forced: false,
    head_commit: commit, commits: [commit],
    repository: { id: 700123456, name: "web", full_name: "acme/web", private: false, default_branch: "main", html_url: "https://github.com/acme/web" },
    sender: { login: "mona", id: 2, type: "User" },
  });
  const signature = crypto.createHmac("sha256", DECLIC_WEBHOOK_SECRET).update(body).digest("hex");
  const headers = {
    "content-type": "application/json", "x-github-event": "push", "x-github-delivery": id, "x-hub-signature-256": `sha256=${signature}`,
  };
  const answer = await fetch(`${base}/hooks/github`, { method: "POST", headers, body });
  assert.equal(answer.status, 202);
  return (await answer.json()).id;
};

const errors = [];
const open = async (options = {}) => {
  const context = await browser.newContext({ baseURL: base, ...options });
  const page = await context.newPage();
  page.on("console", (message) => { if (message.type() === "error") errors.push(message.text()); });
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("request", (request) => { if (!request.url().startsWith(base)) errors.push(`asks elsewhere: ${request.url()}`); });
  return page;
};

const ask = async (path) => (await fetch(`${base}/api/v1${path}`)).json();
const until = async (what, look) => {
  for (let tries = 0; tries < 300; tries += 1) {
    const found = await look();
    if (found) return found;
    await new Promise((resolve) => { setTimeout(resolve, 200); });
  }
  throw new Error(`not within a minute: ${what}`);
};
const violations = async (page) => (await page.evaluate(`${axe}; axe.run()`)).violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);

try {
  // A wrong token is refused, and the right one leads to where somebody wanted to go.
  const stranger = await (await browser.newContext({ baseURL: guarded })).newPage();
  await stranger.goto("/runs?state=failed");
  assert.equal(new URL(stranger.url()).pathname, "/sign-in");
  await stranger.getByLabel("Token").fill("a guess of a token");
  await stranger.getByRole("button", { name: "Sign in" }).click();
  await stranger.getByRole("alert").getByText("This token is not known.").waitFor({ timeout: 10000 });
  assert.deepEqual(await violations(stranger), []);
  await stranger.goto("/runs?state=failed");
  await stranger.getByLabel("Token").fill(DECLIC_OPERATOR);
  await stranger.keyboard.press("Enter");
  await stranger.getByRole("heading", { name: "Runs" }).waitFor({ timeout: 10000 });
  assert.equal(new URL(stranger.url()).search, "?state=failed");
  // A rule whose file was broken: what is in force, and what is wrong with the file.
  await stranger.goto("/rules/tell");
  await stranger.getByText("The files have changed and are wrong; this is the last good rule.").waitFor({ timeout: 10000 });
  assert.match(await stranger.getByRole("alert").first().textContent(), /brnaches/);
  assert.deepEqual(await violations(stranger), []);
  await stranger.getByRole("button", { name: "Sign out" }).click();
  await stranger.getByRole("heading", { name: "Sign in" }).waitFor({ timeout: 10000 });
  await stranger.goto("/runs");
  assert.equal(new URL(stranger.url()).pathname, "/sign-in");

  // The demo brings a history of its own.
  await until("the demo's history", async () => (await ask("/runs?rule=deploy-staging")).items.length >= 3 && (await ask("/runs?rule=release&state=waiting")).items.length > 0);

  // A push arrives while the page is open, and appears.
  const page = await open();
  await page.goto("/deliveries");
  const arrived = await push("heads/hotfix/door", "d-browser", "Paint the door");
  await page.getByRole("link", { name: "hotfix/door: Paint the door" }).waitFor({ timeout: 10000 });

  // Why: each rule with its reasons.
  await page.getByRole("link", { name: "hotfix/door: Paint the door" }).click();
  await page.getByText("x-hub-signature-256, secret 1 of 1").waitFor();
  await page.locator("summary", { hasText: "docs" }).click();
  await page.getByText("branches: [main]").last().waitFor();

  // A failed run is retried: it is taken up again, and says so.
  await page.getByRole("link", { name: "page-somebody" }).click();
  await page.getByRole("button", { name: "Retry" }).click({ timeout: 20000 });
  await page.getByText("taken up again 1 times").waitFor({ timeout: 10000 });
  const failed = new URL(page.url()).pathname;

  // A run that asks is answered, and what is being written stays while things happen.
  // Of a commit that the stand-in for GitHub knows: the question is shown there, too.
  const tagged = await push("tags/v9.9.9", "d-asks", "May I?", "5".repeat(40));
  await page.goto("/");
  await page.getByRole("link", { name: new RegExp(`^Answer .*${tagged}`) }).click({ timeout: 10000 });
  await page.getByLabel("Comment, for the record").fill("go on");
  await push("heads/elsewhere", "d-meanwhile", "Something else");
  await page.waitForTimeout(700);
  assert.equal(await page.getByLabel("Comment, for the record").inputValue(), "go on");
  await page.getByRole("button", { name: "Approve" }).click();
  // The same is said elsewhere on the page once the log has it: what is meant here is the answer with its comment.
  await page.getByText(/^Approved by .*: go on$/).waitFor({ timeout: 10000 });
  const answered = new URL(page.url()).pathname;

  // A rule is edited in the playground: faults and the requests that would be sent, at once and without effects.
  await page.goto(`/playground?delivery=${arrived}`);
  const editor = page.getByLabel("Rule file rules.yaml");
  const text = await editor.inputValue();
  const edit = (from, to) => { assert.ok(text.includes(from), from); return text.replace(from, to); };
  await editor.fill(edit('branches: ["hotfix/**"]', 'brnaches: ["hotfix/**"]'));
  await page.getByText("did you mean `branches`?").waitFor({ timeout: 10000 });
  await editor.fill(edit('paths: ["docs/**"]', 'paths: ["src/**"]').replace('branches: [main]\n        paths: ["src/**"]', 'branches: ["hotfix/**"]'));
  await page.locator("#result summary", { hasText: "docs" }).first().waitFor({ timeout: 10000 });
  assert.equal(await page.locator("#result details.card").count(), 2);
  const sent = (await page.locator("#result pre.request").allTextContents()).join("\n\n");
  assert.match(sent, /POST http:\/\/127\.0\.0\.1:\d+\/.*\/page\n/);
  assert.match(sent, /"branch": "hotfix\/door"/);
  assert.match(sent, /idempotency-key: /);
  assert.match(sent, /authorization: ‹hidden›/);
  assert.deepEqual(await violations(page), []);

  // The same edit against what came in, as a difference.
  await page.goto("/backtest");
  await page.getByLabel("Rule file rules.yaml").fill(edit("page-somebody:", "wake-somebody:"));
  await page.getByRole("button", { name: "Compare" }).click();
  await page.locator("main section.card summary", { hasText: "wake-somebody" }).first().waitFor({ timeout: 20000 });
  assert.ok(await page.locator("main section.card h2").count() > 0);
  assert.deepEqual(await violations(page), []);

  // Whoever is on a link by keyboard stays there while the list grows.
  await page.goto("/deliveries");
  const link = page.getByRole("link", { name: "hotfix/door: Paint the door" }).first();
  await link.focus();
  const where = await link.getAttribute("href");
  await push("heads/elsewhere", "d-grows", "One more");
  await page.getByRole("link", { name: "elsewhere: One more" }).waitFor({ timeout: 10000 });
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("href")), where);

  // By keyboard: the first stop leads past the navigation.
  await page.goto("/");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");

  // A page that no longer hears what happens says so.
  const deaf = await (await browser.newContext({ baseURL: base })).newPage();
  await deaf.route("**/api/v1/changes", (route) => route.abort());
  await deaf.goto("/deliveries");
  await deaf.getByText("The connection was lost.").waitFor({ state: "visible", timeout: 10000 });
  assert.deepEqual(await violations(deaf), []);
  await deaf.unroute("**/api/v1/changes");
  await deaf.getByText("The connection was lost.").waitFor({ state: "hidden", timeout: 20000 });
  await deaf.context().close();

  // Without a script everything can still be read, and done.
  const plain = await open({ javaScriptEnabled: false });
  await plain.goto(`/deliveries/${arrived}`);
  assert.match(await plain.textContent("main"), /branches: \[main\]/);
  await plain.getByRole("button", { name: "Replay" }).click();
  assert.match(await plain.textContent("main"), /a replay/);

  // Every page, narrow and wide, light and dark: no violation, nothing beyond the edge.
  const deploy = (await ask("/runs?rule=deploy-staging&state=succeeded")).items[0].id;
  const paths = ["/", "/deliveries", `/deliveries/${arrived}`, "/runs", failed, answered, `/runs/${deploy}`, "/rules", "/rules/deploy-staging",
    "/playground", "/dead", "/sources", "/audit", "/deployed", "/backtest", "/deliveries?text=nowhere"];
  const found = [];
  const expected = errors.splice(0);
  assert.deepEqual(expected, []);
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1280, 360]) {
      const look = await open({ colorScheme, viewport: { width, height: 800 } });
      for (const path of paths) {
        await look.goto(path, { waitUntil: "load" });
        const beyond = await look.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        if (beyond > 0) found.push(`${path} at ${width}: ${beyond} pixels beyond the edge`);
        for (const violation of await violations(look)) found.push(`${path} ${colorScheme} ${width}: ${violation}`);
      }
      await look.context().close();
    }
  }
  assert.deepEqual(found, []);
  assert.deepEqual(errors, []);
  console.log(`${paths.length} pages in 4 shapes without violations`);
} finally {
  await browser.close();
}
