/** The cases of every call, as data that all languages share: JavaScript comes to the same results. */
import * as donjon from "donjon";
import { about, equal, ok } from "./case.js";

export const test = about("calls");

/** What the loader of a case fails with. */
class Down extends Error {
  name = "Down";
}

const camel = (name) => name.replaceAll(/_(\w)/g, (_, letter) => letter.toUpperCase());
const object = (entries) => Object.fromEntries(entries);
const renamed = (options = {}) =>
  object(Object.entries(options).map(([name, it]) => [camel(name), it === "forever" ? donjon.FOREVER : it]));

/** One case on caches of its own: what it has in hand, and how its steps are done. */
class Run {
  #at = 0;
  #held = new Map();
  #others = new Map();
  #risen = 0;

  constructor(make, { clock, redis }) {
    this.make = make;
    this.cache = make();
    this.clock = clock;
    this.redis = redis;
  }

  async steps(steps = []) {
    for (const step of steps) await Promise.all((step.together ?? [step]).map((one) => this.#step(one)));
  }

  async #step(step) {
    const { at_ms: at = this.#at, wait_ms: wait, redis, fails, has = {}, stats = {} } = step;
    this.clock?.advance(at - this.#at);
    this.#at = at;
    if (wait !== undefined) await this.#wait(wait);
    if (redis !== undefined) await this.redis(redis, this.cache);
    let [given, failed] = [undefined, {}];
    try {
      given = await this.#call(step);
    } catch (error) {
      failed = error;
    }
    const what = JSON.stringify(step);
    equal(failed.name?.replace(/Error$/, ""), fails, `${what}: ${failed.message}`);
    if ("gives" in step) equal(given?.isStored ?? given?.count ?? given, step.gives, what);
    if (step.nothing) equal(given, undefined, what);
    for (const [name, fact] of Object.entries(has)) equal(given[camel(name)] ?? null, fact, `${name}: ${what}`);
    for (const [name, fact] of Object.entries(stats)) equal(this.cache.stats()[camel(name)], fact, `${name}: ${what}`);
    if ("rises" in step) {
      ok(given[step.rises] > this.#risen, what);
      this.#risen = given[step.rises];
    }
  }

  /** What the call gives that a step names, as JavaScript spells it. */
  async #call(step) {
    const [name, ...given] = step.do;
    const args = name === "subscribe" ? [given] : given;
    const options = renamed(step.with);
    const [method, owner] = name.split(".").reverse();
    const cache = this.#by(step.by);
    const it = this.#held.get(step.of) ?? (owner === undefined ? cache : cache[owner]);
    if (name === "next") return (await it.next()).value;
    if (name === "enabled") return void (it.enabled = args[0]);
    if (name === "incr") args[1] ??= 1;
    if (name === "warm") options.loader = ({ key }) => this.#load(step, key);
    if (name === "get_or_set") args.push(() => this.#load(step));
    if (name === "get_or_set_many") args.push((keys) => this.#load(step, keys));
    const told = await it[camel(method)](...args, ...(step.with || name === "warm" ? [options] : []));
    if ("as" in step) this.#held.set(step.as, told);
    if (told instanceof Map) return object(told);
    if (told?.isHit !== undefined) return told.value;
    if (name === "ttl") return told === Number.POSITIVE_INFINITY ? "forever" : told;
    return told;
  }

  /** The case's cache, or another over the same place. */
  #by(name) {
    if (name === undefined) return this.cache;
    if (!this.#others.has(name)) this.#others.set(name, this.make());
    return this.#others.get(name);
  }

  /** Lets time pass, also by a clock that is moved by hand. */
  async #wait(ms) {
    this.clock?.advance(ms);
    await new Promise((resolve) => setTimeout(resolve, ms));
  }

  /** What the step says that its loader gives, once the steps are done that come meanwhile. */
  async #load(step, asked) {
    const { load_fails: fails, loads_each: each, loads = each } = step;
    ok(fails || loads !== undefined, `nothing is to be loaded: ${JSON.stringify(step)}`);
    await undefined; // for who asks at the same time
    await this.steps(step.meanwhile);
    if (fails) throw new Down();
    if (Array.isArray(asked)) equal([...asked].sort(), Object.keys(each).sort(), `what ${JSON.stringify(step)} loads`);
    return typeof asked === "string" ? each[asked] : loads;
  }
}

/** The cases of which a place has what they need, each with the options of its cache. */
export function* casesFor(has, vectors) {
  for (const { about: subject, cases } of vectors.calls) {
    for (const { name, needs = [], cache, steps } of cases) {
      if (needs.every((need) => has.includes(need))) yield { name: `${subject}: ${name}`, needs, options: renamed(cache), steps };
    }
  }
}

/** Does the steps on caches that `make` makes. `redis` makes the server go `away` or come `back`, and waits until a cache knows. */
export const runSteps = (make, steps, means = {}) => new Run(make, means).steps(steps);

test("of memory", async ({ cache, clock, vectors }) => {
  let count = 0;
  for (const { name, options, steps } of casesFor(["clock", "bounds"], vectors)) {
    try {
      await runSteps(() => cache(options), steps, { clock });
    } catch (error) {
      throw new Error(`${name}: ${error?.stack ?? error}`);
    }
    count++;
  }
  ok(count > 50, `there are ${count} cases`);
});
