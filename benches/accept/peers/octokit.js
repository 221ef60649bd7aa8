// @octokit/webhooks with its own middleware, as its README shows it: checks the signature, stores nothing, one handler that does nothing.
import { createServer } from "node:http";
import { Webhooks, createNodeMiddleware } from "@octokit/webhooks";

const webhooks = new Webhooks({ secret: process.env.WEBHOOK_SECRET });
webhooks.on("push", () => {});
createServer(createNodeMiddleware(webhooks, { path: "/hooks/github" })).listen(Number(process.env.PORT), "127.0.0.1");
