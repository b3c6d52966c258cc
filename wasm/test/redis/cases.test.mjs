// The cases of every call, as data that all languages share, over Redis and with memory in front of it.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import * as donjon from "../../dist/inline.js";
import { vectors } from "../hosts/hosts.js";
import { casesFor, runSteps } from "../suite/calls.js";
import { PATIENT, freshNamespace, open, start, until } from "./kit.mjs";
import { RedisServer } from "./server.mjs";

let server;
before(async () => (server = await RedisServer.start()));
after(() => server.close());

const given = await vectors();
const cases = [...casesFor(["redis", "time", "strict", "max_value_bytes"], given)];

for (const near of [false, true]) {
  describe(near ? "with memory in front" : "over Redis", () => {
    for (const { name, needs, options, steps } of cases) {
      test(name, async (t) => {
        const { maxValueBytes, ...others } = options;
        const limits = { ...PATIENT, near, ...(maxValueBytes === undefined ? {} : { maxValueBytes }) };
        const asked = needs.includes("redis") ? await start(t, { appendOnly: true }) : server;
        const namespace = freshNamespace();
        const redis = async (where, cache) => {
          await (where === "away" ? asked.kill() : asked.restart());
          await until(`redis is ${where}`, async () => (await cache.ping()) === (where === "back"));
        };
        await runSteps(() => open(t, asked.url, { ...others, namespace, limits }), steps, { redis });
      });
    }
  });
}

test("each error has a case", () => {
  const steps = given.calls.flatMap((subject) => subject.cases.flatMap((one) => one.steps));
  const failed = steps.flatMap((step) => ((step.fails ?? "Down") === "Down" ? [] : `${step.fails}Error`));
  // `tests/cases/README.md` says where these are.
  const elsewhere = ["ConfigError", "DonjonError", "UnsupportedOperationError", "UnsupportedValueError"];
  const errors = Object.keys(donjon).filter((name) => name.endsWith("Error"));
  assert.deepEqual(new Set([...failed, ...elsewhere]), new Set(errors));
});
