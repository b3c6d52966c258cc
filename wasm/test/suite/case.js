/**
 * Case: what a case of the suite is written with. The suite runs in every host, so it is plain JavaScript that needs `donjon` alone.
 *
 * Owns the words that check, and how a case runs: each has caches of its own on a clock that it moves by hand.
 */
import { ManualClock, createCache } from "donjon";

/** Gives the word that adds cases on one subject to its own `cases`. A case's body is given `{ cache, clock, logged, vectors }`. */
export function about(subject) {
  const test = (name, body) => test.cases.push({ name: `${subject}: ${name}`, body });
  test.cases = [];
  return test;
}

/** A case that has not ended by then hangs: no case waits for time to pass. */
const LONGEST = 20_000;

/** Runs a case; throws what is wrong. `vectors` are the cases that all languages share. */
export async function run({ body }, vectors) {
  const opened = [];
  const logged = [];
  const clock = new ManualClock();
  const cache = (options = {}) => {
    const made = createCache({ clock, early: 0, log: (message) => logged.push(message), ...options });
    opened.push(made);
    return made;
  };
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("the case did not end")), LONGEST);
  });
  try {
    await Promise.race([body({ cache, clock, logged, vectors }), late]);
  } finally {
    clearTimeout(timer);
    await Promise.all(opened.map((made) => made.close()));
  }
}

// -- words that check

export function ok(holds, what) {
  if (!holds) throw new Error(what);
}

/** Of the same type and content; lists, maps, bytes and plain objects are compared by what is in them. */
export function equal(actual, expected, what = "it") {
  if (!same(actual, expected)) throw new Error(`${what} is ${show(actual)}, not ${show(expected)}`);
}

export function notEqual(actual, unexpected, what = "it") {
  if (same(actual, unexpected)) throw new Error(`${what} is ${show(actual)}`);
}

/** That `what` throws an error of this class, whose message matches. Gives the error. */
export function throws(what, Kind, message) {
  try {
    what();
  } catch (error) {
    return checkError(error, Kind, message);
  }
  throw new Error(`nothing was thrown, but ${Kind.name} was expected`);
}

/** As {@link throws}, of a promise or of a call that gives one. */
export async function rejects(what, Kind, message) {
  let value;
  try {
    value = await (typeof what === "function" ? what() : what);
  } catch (error) {
    return checkError(error, Kind, message);
  }
  throw new Error(`${show(value)} was given, but ${Kind.name} was expected`);
}

function checkError(error, Kind, message) {
  if (!(error instanceof Kind)) throw new Error(`${show(error)} was thrown, not ${Kind.name}`, { cause: error });
  if (message !== undefined && !message.test(error.message)) throw new Error(`"${error.message}" does not match ${message}`);
  return error;
}

function same(one, other) {
  if (Object.is(one, other)) return true;
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) return false;
  if (Object.getPrototypeOf(one) !== Object.getPrototypeOf(other)) return false;
  if (one instanceof Map) return same([...one], [...other]);
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => Object.hasOwn(other, name) && same(one[name], other[name]));
}

function show(value) {
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (value instanceof Map) return `Map ${show([...value])}`;
  if (Object.is(value, -0)) return "-0";
  const text = (_, field) => (typeof field === "bigint" ? `${field}n` : field === undefined ? "undefined" : field);
  return typeof value === "object" ? JSON.stringify(value, text) : String(value);
}

// -- words for what goes on at once

/** Lets everything that can run now do so. */
export function turn() {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** Waits until something holds. */
export async function until(holds) {
  while (!holds()) await turn();
}

/** What a promise has come to by now: `"pending"`, or `{ value }`, or `{ error }`. */
export async function now(promise) {
  let outcome = "pending";
  promise.then(
    (value) => {
      outcome = { value };
    },
    (error) => {
      outcome = { error };
    },
  );
  await turn();
  return outcome;
}

/**
 * A loader that a case answers by hand: `load.started(2)` resolves when the second call of it runs, to `{ key, signal, give, fail }`.
 */
export function byHand() {
  const calls = [];
  const awaited = new Map();
  const load = ({ key, signal }) =>
    new Promise((give, fail) => {
      calls.push({ key, signal, give, fail });
      awaited.get(calls.length)?.(calls.at(-1));
    });
  load.calls = calls;
  load.started = (number) => {
    const call = calls[number - 1];
    return call === undefined ? new Promise((resolve) => awaited.set(number, resolve)) : Promise.resolve(call);
  };
  return load;
}

/** A loader that gives `value`, and counts in `load.count`. */
export function giving(value) {
  const load = () => {
    load.count++;
    return value;
  };
  load.count = 0;
  return load;
}

/** A loader that no case lets run. */
export function neverRun() {
  throw new Error("the loader ran");
}
