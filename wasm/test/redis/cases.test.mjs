// The cases of every call, as data that all languages share, over Redis.

import { after, before, test } from "node:test";
import { vectors } from "../hosts/hosts.js";
import { casesFor, runSteps } from "../suite/calls.js";
import { open } from "./kit.mjs";
import { RedisServer } from "./server.mjs";

let server;
before(async () => (server = await RedisServer.start()));
after(() => server.close());

for (const { name, options, steps } of casesFor(["max_value_bytes"], await vectors())) {
  test(name, async (t) => {
    const { maxValueBytes, ...others } = options;
    const limits = maxValueBytes === undefined ? {} : { limits: { maxValueBytes } };
    await runSteps(open(t, server.url, { ...others, ...limits }), undefined, steps);
  });
}
