// A person at the console: is refused with a wrong token, sees a push arrive, asks why, retries a run, answers one that asks, edits a
// rule; and axe looks at every page.
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

const push = async (branch, id, message) => {
  const commit = { id: "b".repeat(40), message, author: { name: "Mona", username: "mona" }, added: [], removed: [], modified: ["src/main.rs"] };
  const body = JSON.stringify({
    ref: `refs/heads/${branch}`, before: "a".repeat(40), after: "b".repeat(40), created: false, deleted: false, forced: false,
    head_commit: commit, commits: [commit],
    repository: { id: 1, name: "web", full_name: "acme/web", private: false, default_branch: "main", html_url: "https://github.com/acme/web" },
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

try {
  // A wrong token is refused, and the right one leads to where somebody wanted to go.
  const stranger = await (await browser.newContext({ baseURL: guarded })).newPage();
  await stranger.goto("/runs?state=failed");
  assert.equal(new URL(stranger.url()).pathname, "/sign-in");
  await stranger.getByLabel("Token").fill("a guess of a token");
  await stranger.getByRole("button", { name: "Sign in" }).click();
  await stranger.getByRole("alert").getByText("This token is not known.").waitFor({ timeout: 10000 });
  const { violations: atTheDoor } = await stranger.evaluate(`${axe}; axe.run()`);
  assert.deepEqual(atTheDoor.map(({ id }) => id), []);
  await stranger.goto("/runs?state=failed");
  await stranger.getByLabel("Token").fill(DECLIC_OPERATOR);
  await stranger.keyboard.press("Enter");
  await stranger.getByRole("heading", { name: "Runs" }).waitFor({ timeout: 10000 });
  assert.equal(new URL(stranger.url()).search, "?state=failed");
  await stranger.getByRole("button", { name: "Sign out" }).click();
  await stranger.getByRole("heading", { name: "Sign in" }).waitFor({ timeout: 10000 });
  await stranger.goto("/runs");
  assert.equal(new URL(stranger.url()).pathname, "/sign-in");

  // A push arrives while the page is open, and appears.
  const page = await open();
  await page.goto("/deliveries");
  const arrived = await push("main", "d-browser", "Paint the door");
  await page.getByRole("link", { name: "main: Paint the door" }).waitFor({ timeout: 10000 });

  // Why: each rule with its reasons.
  await page.getByRole("link", { name: "main: Paint the door" }).click();
  await page.getByText("x-hub-signature-256, secret 1 of 1").waitFor();
  await page.locator("summary", { hasText: "elsewhere" }).click();
  await page.getByText("branches: [release/*]").last().waitFor();

  // A failed run is retried: it is taken up again, and says so.
  await page.getByRole("link", { name: "break" }).click();
  await page.getByRole("button", { name: "Retry" }).click();
  await page.getByText("taken up again 1 times").waitFor({ timeout: 10000 });

  // A run that asks is answered, and what is being written stays while things happen.
  await push("ask/browser", "d-asks", "May I?");
  await page.goto("/");
  await page.getByRole("link", { name: /^Answer/ }).click({ timeout: 10000 });
  await page.getByLabel("Comment, for the record").fill("go on");
  await push("main", "d-meanwhile", "Something else");
  await page.waitForTimeout(700);
  assert.equal(await page.getByLabel("Comment, for the record").inputValue(), "go on");
  await page.getByRole("button", { name: "Approve" }).click();
  // The same is said elsewhere on the page once the log has it: what is meant here is the answer with its comment.
  await page.getByText(/^Approved by .*: go on$/).waitFor({ timeout: 10000 });
  await page.getByText("go on").first().waitFor();

  // A rule is edited in the playground: faults and the requests that would be made, at once and without effects.
  await page.goto(`/playground?delivery=${arrived}`);
  const editor = page.getByLabel("Rule file rules.yaml");
  const text = await editor.inputValue();
  await editor.fill(text.replace("branches: [release/*]", "brnaches: [main]"));
  await page.getByText("did you mean `branches`?").waitFor({ timeout: 10000 });
  await editor.fill(text.replace("branches: [release/*]", "branches: [main]"));
  await page.locator("#result summary", { hasText: "elsewhere" }).first().waitFor({ timeout: 10000 });
  assert.equal(await page.locator("#result details.card").count(), 3);

  // Whoever is on a link by keyboard stays there while the list grows.
  await page.goto("/deliveries");
  const link = page.getByRole("link", { name: "main: Paint the door" }).first();
  await link.focus();
  const where = await link.getAttribute("href");
  await push("main", "d-grows", "One more");
  await page.getByRole("link", { name: "main: One more" }).waitFor({ timeout: 10000 });
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("href")), where);

  // By keyboard: the first stop leads past the navigation.
  await page.goto("/");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");

  // Without a script everything can still be read, and done.
  const plain = await open({ javaScriptEnabled: false });
  await plain.goto(`/deliveries/${arrived}`);
  assert.match(await plain.textContent("main"), /branches: \[release\/\*\]/);
  await plain.getByRole("button", { name: "Replay" }).click();
  assert.match(await plain.textContent("main"), /a replay/);

  // Every page, narrow and wide, light and dark: no violation, nothing beyond the edge.
  const paths = ["/", "/deliveries", `/deliveries/${arrived}`, "/runs", `/runs/${arrived}-2`, "/rules", "/rules/tell", "/playground",
    "/dead", "/sources", "/audit", "/deployed", "/backtest", "/deliveries?text=nowhere"];
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
        const { violations } = await look.evaluate(`${axe}; axe.run()`);
        for (const { id, nodes } of violations) found.push(`${path} ${colorScheme} ${width}: ${id}: ${nodes[0]?.html}`);
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
