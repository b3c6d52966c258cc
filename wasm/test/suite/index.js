/** The suite: what the package does, the same in every host. */
import { test as badInput } from "./bad-input.js";
import { test as calls } from "./calls.js";
import { test as counters } from "./counters.js";
import { test as flights } from "./flights.js";
import { test as invalidation } from "./invalidation.js";
import { test as lifetime } from "./lifetime.js";
import { test as loads } from "./loads.js";
import { test as locks } from "./locks.js";
import { test as lookup } from "./lookup.js";
import { test as many } from "./many.js";
import { test as messages } from "./messages.js";
import { test as reads } from "./reads.js";
import { test as time } from "./time.js";
import { test as values } from "./values.js";
import { test as vectors } from "./vectors.js";
import { test as warm } from "./warm.js";
import { test as wrap } from "./wrap.js";
import { run } from "./case.js";

export { run };

/** All cases: from what is simple to what goes wrong. */
export const cases = [
  reads,
  loads,
  flights,
  invalidation,
  time,
  values,
  many,
  lookup,
  wrap,
  warm,
  locks,
  messages,
  counters,
  lifetime,
  badInput,
  vectors,
  calls,
].flatMap((test) => test.cases);

/** Runs all cases and gives what became of each, as data. `vectors` are the cases that all languages share. */
export async function runAll(vectors) {
  const results = [];
  for (const one of cases) {
    try {
      await run(one, vectors);
      results.push({ name: one.name });
    } catch (error) {
      results.push({ name: one.name, error: String(error?.stack ?? error) });
    }
  }
  return results;
}
