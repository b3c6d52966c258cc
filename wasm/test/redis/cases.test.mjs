// The cases of every call, as data that all languages share, over Redis and with memory in front of it.

import { after, before, describe, test } from "node:test";
import { vectors } from "../hosts/hosts.js";
import { casesFor, runSteps } from "../suite/calls.js";
import { PATIENT, open } from "./kit.mjs";
import { RedisServer } from "./server.mjs";

let server;
before(async () => (server = await RedisServer.start()));
after(() => server.close());

const cases = [...casesFor(["max_value_bytes"], await vectors())];

for (const near of [false, true]) {
  describe(near ? "with memory in front" : "over Redis", () => {
    for (const { name, options, steps } of cases) {
      test(name, async (t) => {
        const { maxValueBytes, ...others } = options;
        const limits = { ...PATIENT, near, ...(maxValueBytes === undefined ? {} : { maxValueBytes }) };
        await runSteps(open(t, server.url, { ...others, limits }), undefined, steps);
      });
    }
  });
}
