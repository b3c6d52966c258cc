/** The cases of every call, as data that all languages share: JavaScript comes to the same results. */
import * as donjon from "donjon";
import { about, equal, ok } from "./case.js";

export const test = about("calls");

/** What a loader of a case fails with. */
class Broken extends Error {}

/** Errors whose names in the cases differ from those here by more than `Error` at their end. */
const NAMES = { InvalidRuleError: "RuleError", LockLostError: "LockNotOwned" };
const nameOf = (error) => NAMES[error.name] ?? error.name?.replace(/Error$/, "");
const camel = (name) => name.replaceAll(/_(\w)/g, (_, letter) => letter.toUpperCase());

/** A value as it is written, or a text that is said to be repeated. */
const whole = (value) => (typeof value?.repeat === "string" ? value.repeat.repeat(value.times) : value);
const ttlOf = (ttl) => (ttl === "forever" ? donjon.FOREVER : ttl);
const object = (map) => Object.fromEntries(map);

/** What is told, under the names that the case asks for. */
const someOf = (told, { gives = {} }) => object(Object.keys(gives).map((name) => [name, told[camel(name)] ?? null]));

/** One case on one cache. */
class Run {
  #at = 0;
  #loaded = 0;
  #kept = new Map();

  constructor(cache, clock) {
    this.cache = cache;
    this.clock = clock;
  }

  async steps(steps = []) {
    for (const step of steps) await (step.together === undefined ? this.#step(step) : this.#together(step.together));
  }

  /** All at once: no load ends before each has been asked for. */
  async #together(steps) {
    let everyone;
    const after = new Promise((resolve) => (everyone = resolve));
    const all = steps.map((step) => this.#step({ ...step, after }));
    everyone();
    await Promise.all(all);
  }

  async #step(step) {
    if (step.at_ms !== undefined) {
      this.clock.advance(step.at_ms - this.#at);
      this.#at = step.at_ms;
    }
    const what = JSON.stringify(step);
    ok(typeof this[step.do] === "function", `there is no call ${step.do}`);
    let given;
    try {
      given = await this[step.do](step, step.key === undefined ? undefined : whole(step.key));
    } catch (error) {
      if (error instanceof Broken) return equal(error.message, step.raises, what);
      if (step.refused === undefined) throw error;
      return equal(nameOf(error), step.refused, what);
    }
    ok(step.refused === undefined && step.raises === undefined, `it is not refused: ${what}`);
    if ("gives" in step) equal(given, whole(step.gives), what);
    if (step.nothing) equal(given, undefined, what);
  }

  async #load(step, of) {
    ok(of in step || "load_fails" in step, `nothing is to be loaded: ${JSON.stringify(step)}`);
    this.#loaded++;
    await step.after;
    await this.steps(step.meanwhile);
    if ("load_fails" in step) throw new Broken(step.load_fails);
    return whole(step[of]);
  }

  #terms({ ttl, grace, tags, force_refresh: forceRefresh }) {
    const terms = { ttl: ttlOf(ttl), grace, tags, forceRefresh };
    return object(Object.entries(terms).filter(([, value]) => value !== undefined));
  }

  get = (_, key) => this.cache.get(key);
  set = (step, key) => this.cache.set(key, whole(step.value), this.#terms(step));
  add = (step, key) => this.cache.add(key, step.value, this.#terms(step));
  exists = (_, key) => this.cache.exists(key);
  touch = (step, key) => this.cache.touch(key, step.ttl);
  incr = ({ by, ...step }, key) => this.cache.incr(key, by, this.#terms(step));
  delete = (_, key) => this.cache.delete(key);
  get_many = async ({ keys }) => object(await this.cache.getMany(keys));
  set_many = ({ items }) => this.cache.setMany(new Map(Object.entries(items)));
  delete_many = async ({ keys }) => (await this.cache.deleteMany(keys)).count;
  ttl = async (_, key) => {
    const left = await this.cache.ttl(key);
    return left === Number.POSITIVE_INFINITY ? "forever" : left;
  };
  get_or_set = (step, key) => this.cache.getOrSet(key, () => this.#load(step, "loads"), this.#terms(step));
  get_or_set_many = async (step) => {
    const load = async (keys) => {
      equal([...keys].sort(), step.asks, JSON.stringify(step));
      return this.#load(step, "loads_each");
    };
    return object(await this.cache.getOrSetMany(step.keys, load, this.#terms(step)));
  };
  lookup = async (step, key) => {
    const found = await this.cache.lookup(key);
    if (found.isHit) return found.value;
    this.#kept.set(step.as, found);
  };
  fill = async (step) => (await this.#kept.get(step.miss).fill(step.value, this.#terms(step))).isStored;
  warm = async ({ keys, loads_each }) => {
    const { loaded, skipped, errors } = await this.cache.warm(keys, { loader: ({ key }) => loads_each[key] });
    return { loaded, skipped, failed: errors.size };
  };
  loaded = () => this.#loaded;
  invalidate_pattern = async ({ pattern }) => (await this.cache.invalidatePattern(whole(pattern))).count;
  invalidate_tags = async ({ tags }) => (await this.cache.invalidateTags(...tags)).count;
  clear = async () => (await this.cache.clear()).count;
  on = ({ event, keys = [], patterns = [], tags = [] }) => void this.cache.rules.on(event, { keys, patterns, tags });
  emit = async ({ event, about: values }) => (await this.cache.emit(event, values)).count;
  lock = async ({ name, ttl, wait = 0, as }) => void this.#kept.set(as, await this.cache.lock(name, { ttl, wait }));
  extend = ({ lock, ttl }) => this.#kept.get(lock).extend(ttl);
  release = ({ lock }) => this.#kept.get(lock).release();
  later = ({ than, is }) => this.#kept.get(is).fence > this.#kept.get(than).fence;
  publish = ({ channel, message }) => this.cache.publish(channel, message);
  subscribe = ({ channels, as }) => void this.#kept.set(as, this.cache.subscribe(channels));
  receive = async ({ from }) => (await this.#kept.get(from).next()).value;
  explain = async (step, key) => someOf(await this.cache.explain(key), step);
  stats = (step) => {
    const { cache } = this;
    return someOf({ ...cache.stats(), hitRate: cache.hitRate, missRate: cache.missRate }, step);
  };
  reset_stats = () => this.cache.resetStats();
  switch = ({ on }) => {
    this.cache.enabled = on;
  };
  ping = () => this.cache.ping();
}

/** The cases of which a place has what they need, each with the options of its cache. */
export function* casesFor(has, vectors) {
  for (const { about: subject, cases } of vectors.calls) {
    for (const { name, needs = [], cache = {}, steps } of cases) {
      if (!needs.every((need) => has.includes(need))) continue;
      const options = object(Object.entries(cache).map(([option, value]) => [camel(option), value]));
      yield { name: `${subject}: ${name}`, options, steps };
    }
  }
}

export const runSteps = (cache, clock, steps) => new Run(cache, clock).steps(steps);

test("of memory", async ({ cache, clock, vectors }) => {
  let count = 0;
  for (const { name, options, steps } of casesFor(["clock", "bounds"], vectors)) {
    try {
      await runSteps(cache(options), clock, steps);
    } catch (error) {
      throw new Error(`${name}: ${error?.stack ?? error}`);
    }
    count++;
  }
  ok(count > 50, `there are ${count} cases`);
});
