/**
 * Load: from a key to its value, loading it at most once for everyone who asks.
 *
 * Owns the manners of a load: it goes on while anybody waits for it, whoever began it; on every way out the right to load is given
 * up; a wait is bounded, and past the bound a caller loads for itself and stores nothing. Who loads, who waits and what is stored
 * are the core's decisions.
 */
import { unlessAborted } from "./aborts.js";
import { owned, within } from "./scope.js";
import type { Eventually, Join, Lease, Step, Terms, Tier, Want } from "./tier.js";
import type { Isolated } from "./value.js";

/** What a loader is told. */
export interface LoadContext {
  readonly key: string;
  /** Aborts when nobody waits for the value any more. */
  readonly signal: AbortSignal;
}

export type Loader<T> = (context: LoadContext) => Eventually<T>;

/** What a load needs to know of its cache. */
export interface Loading {
  readonly tier: Tier;
  /** Makes the form in which a value is kept. */
  readonly isolate: (value: unknown) => Isolated;
  /** Keeps the host alive for what goes on after an answer. */
  readonly waitUntil: ((work: Promise<unknown>) => void) | undefined;
  /** Is told that a load failed and a stale value was served. */
  readonly servedStale: (key: string, error: unknown) => void;
  /** The loads that run, by their tickets. */
  readonly running: Map<number, Running>;
  /** How many wait for each load but its leader. They may be there before the load runs. */
  readonly waiting: Map<number, number>;
}

export interface Asked {
  readonly terms: Terms;
  readonly since: number;
  readonly signal: AbortSignal | undefined;
  /** Whether the look-up was counted before. */
  readonly again?: boolean;
  /** Whether the tags are known only once there is a value. */
  readonly hasLateTags?: boolean;
}

/** A load under way, of one key or several, for as long as anybody waits for it. */
export class Running {
  readonly #loading: Loading;
  readonly #leases: readonly Lease[];
  /** Made when a loader asks for its signal: most do not. */
  #controller: AbortController | undefined;
  #givenUp: { readonly reason: unknown } | undefined;
  #isLed = true;

  constructor(loading: Loading, leases: readonly Lease[]) {
    this.#loading = loading;
    this.#leases = leases;
    for (const { ticket } of leases) loading.running.set(ticket, this);
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#givenUp !== undefined) this.#controller.abort(this.#givenUp.reason);
    }
    return this.#controller.signal;
  }

  /** The caller whose loader runs waits no more. */
  leaderLeft(reason: unknown): void {
    this.#isLed = false;
    this.someoneLeft(reason);
  }

  /** Gives the load up where nobody waits for it any more. */
  someoneLeft(reason: unknown): void {
    if (this.#isLed || this.#leases.some(({ ticket }) => this.#loading.waiting.has(ticket))) return;
    this.loaderEnded();
    for (const lease of this.#leases) lease.abandon();
    this.#givenUp = { reason };
    this.#controller?.abort(reason);
  }

  /** There is nothing left that could be given up. */
  loaderEnded(): void {
    for (const { ticket } of this.#leases) this.#loading.running.delete(ticket);
  }
}

/** What a loader is given. */
class Context implements LoadContext {
  readonly #running: Running;

  constructor(
    readonly key: string,
    running: Running,
  ) {
    this.#running = running;
  }

  get signal(): AbortSignal {
    return this.#running.signal;
  }
}

/** Notes one more who waits for a load; what it gives is called when that one waits no more. */
function waitingFor({ waiting, running }: Loading, ticket: number, signal: AbortSignal | undefined): () => void {
  waiting.set(ticket, (waiting.get(ticket) ?? 0) + 1);
  return () => {
    const others = waiting.get(ticket)! - 1;
    if (others > 0) waiting.set(ticket, others);
    else waiting.delete(ticket);
    running.get(ticket)?.someoneLeft(signal?.reason);
  };
}

/** What a key has: a value, or the right to load one, perhaps with a stale value to serve meanwhile. */
export type Found = { readonly lease?: undefined; readonly value: unknown } | { readonly lease: Lease; readonly value: unknown };

/** Looks a key up; waits for another's load where there is one. */
export async function seek(loading: Loading, key: string, asked: Asked): Promise<Found> {
  const { tier } = loading;
  const own = owned(tier);
  const { since, signal } = asked;
  const joined = (ticket: number): (() => void) => waitingFor(loading, ticket, signal);
  let again = asked.again ?? false;
  let deadline: number | undefined;
  for (;;) {
    signal?.throwIfAborted();
    const tags = asked.hasLateTags === true ? undefined : asked.terms.tags;
    const want: Want = { since, tags, again, own, isImpatient: false, signal, joined };
    const step: Step = await tier.begin(key, want);
    if (signal?.aborted === true && "lease" in step) {
      step.lease.abandon();
      throw signal.reason;
    }
    if (step.kind === "value") return step;
    if (step.kind === "failed") throw step.error;
    if (step.kind === "load") return { lease: step.lease, value: undefined };
    if (step.kind === "stale") return step;
    if (step.kind === "later") throw new Error("a look-up that is patient is not put off");
    const { join } = step;
    if (own.includes(join.ticket)) {
      join.leave();
      return { lease: tier.bypass(key), value: undefined };
    }
    deadline ??= performance.now() + join.atMost;
    const ended = await wait(loading, join, deadline - performance.now(), signal);
    if (ended === "late") return { lease: tier.overdue(key, want), value: undefined };
    if (ended.kind === "value") return ended;
    if (ended.kind === "failed") throw ended.error;
    // Nobody's successor is chosen, as it may go away itself: whoever comes first loads.
    again = true;
  }
}

/** The value of a key, loaded where there is none. */
export async function load<T>(loading: Loading, key: string, loader: Loader<T>, asked: Asked): Promise<T> {
  const found = await seek(loading, key, asked);
  if (found.lease === undefined) return found.value as T;
  if (found.value === undefined || loading.waitUntil === undefined) return (await lead(loading, found.lease, loader, asked)) as T;
  // Its caller has been answered, and ends nothing by going away.
  loading.waitUntil(lead(loading, found.lease, loader, { ...asked, signal: undefined }).catch(() => undefined));
  return found.value as T;
}

/** Waits for another's load. */
async function wait(loading: Loading, join: Join, atMost: number, signal: AbortSignal | undefined) {
  const waitsNoMore = waitingFor(loading, join.ticket, signal);
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    const races: Promise<Awaited<Join["ended"]> | "late">[] = [join.ended];
    if (atMost < 0x7fff_ffff) races.push(new Promise((resolve) => (timer = setTimeout(() => resolve("late"), afterwards(atMost)))));
    const ended = await unlessAborted(Promise.race(races), signal);
    if (ended === "late") join.leave();
    return ended;
  } catch (error) {
    join.leave();
    throw error;
  } finally {
    clearTimeout(timer);
    waitsNoMore();
  }
}

/** Timers drop fractions, and the core's clock may be a millisecond behind: it is to agree that so much has passed. */
function afterwards(ms: number): number {
  return Math.max(0, Math.ceil(ms)) + 1;
}

/** Loads under a lease. The load goes on where its caller leaves while others wait. */
function lead(loading: Loading, lease: Lease, loader: Loader<unknown>, { terms, signal }: Asked): Promise<unknown> {
  const running = new Running(loading, [lease]);
  return unlessAborted(run(loading, running, lease, loader, terms), signal, (reason) => running.leaderLeft(reason));
}

async function run(loading: Loading, running: Running, lease: Lease, loader: Loader<unknown>, terms: Terms): Promise<unknown> {
  let value: unknown;
  try {
    value = await within(loading.tier, lease.ticket, () => loader(new Context(lease.key, running)));
    running.loaderEnded();
  } catch (error) {
    running.loaderEnded();
    const stale = lease.fallback();
    lease.fail(error);
    if (stale === undefined) throw error;
    loading.servedStale(lease.key, error);
    return stale;
  }
  try {
    return (await lease.fill(loading.isolate(value), terms)).value;
  } catch (error) {
    lease.fail(error);
    throw error;
  }
}

/**
 * The values of keys; the missing ones come from one call of `loader`, which gives a mapping. A key that it leaves out has none.
 *
 * Loads its own keys before it waits for those of others, so two callers whose keys overlap cannot wait for each other.
 */
export async function loadMany<T>(
  loading: Loading,
  keys: readonly string[],
  loader: (keys: string[], context: { readonly signal: AbortSignal }) => Eventually<ReadonlyMap<string, T> | Readonly<Record<string, T>>>,
  asked: Asked,
): Promise<Map<string, T>> {
  const { tier } = loading;
  const { signal, terms } = asked;
  signal?.throwIfAborted();
  const want: Want = {
    since: -1,
    tags: terms.tags,
    again: false,
    own: owned(tier),
    isImpatient: true,
    signal,
    joined: () => () => undefined,
  };
  const found = new Map<string, unknown>();
  const leases = new Map<string, Lease>();
  const later: string[] = [];
  const failures: unknown[] = [];
  const wanted = [...new Set(keys)];
  const steps = await Promise.allSettled(wanted.map(async (key) => tier.begin(key, want)));
  for (const [at, outcome] of steps.entries()) {
    const key = wanted[at]!;
    if (outcome.status === "rejected") {
      failures.push(outcome.reason);
      continue;
    }
    const step = outcome.value;
    if (step.kind === "value") found.set(key, step.value);
    else if (step.kind === "load" || step.kind === "stale") leases.set(key, step.lease);
    else if (step.kind === "failed") failures.push(step.error);
    else later.push(key);
  }
  if (failures.length > 0 || signal?.aborted === true) {
    for (const lease of leases.values()) lease.abandon();
    throw failures.length > 0 ? failures[0] : signal?.reason;
  }
  if (leases.size > 0) {
    const running = new Running(loading, [...leases.values()]);
    const loaded = runMany(loading, running, leases, loader, terms);
    for (const [key, value] of await unlessAborted(loaded, signal, (reason) => running.leaderLeft(reason))) found.set(key, value);
  }
  for (const key of later) {
    const alone: Loader<unknown> = async ({ signal }) => fieldOf(await loader([key], { signal }), key);
    try {
      found.set(key, await load(loading, key, alone, { ...asked, again: true }));
    } catch (error) {
      if (!(error instanceof LeftOut)) throw error;
    }
  }
  return new Map(wanted.filter((key) => found.has(key)).map((key) => [key, found.get(key) as T]));
}

/** The loader gave nothing for a key that it was asked for alone. */
class LeftOut extends Error {}

function fieldOf(given: unknown, key: string): unknown {
  const value = read(given, key);
  if (value === undefined) throw new LeftOut();
  return value;
}

function read(given: unknown, key: string): unknown {
  if (given instanceof Map) return given.get(key);
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new TypeError("the loader of getOrSetMany gives a Map or an object from key to value");
  }
  return Object.hasOwn(given, key) ? (given as Record<string, unknown>)[key] : undefined;
}

/** Loads under several leases at once; those of keys that the loader leaves out are given up. */
async function runMany(
  loading: Loading,
  running: Running,
  leases: ReadonlyMap<string, Lease>,
  loader: (keys: string[], context: { readonly signal: AbortSignal }) => Eventually<unknown>,
  terms: Terms,
): Promise<ReadonlyMap<string, unknown>> {
  const under = (all: readonly Lease[], what: () => Eventually<unknown>): Eventually<unknown> => {
    const [first, ...rest] = all;
    return first === undefined ? what() : within(loading.tier, first.ticket, () => under(rest, what));
  };
  const found = new Map<string, unknown>();
  try {
    const given = await under([...leases.values()], () => loader([...leases.keys()], { signal: running.signal }));
    running.loaderEnded();
    const values = [...leases].flatMap(([key, lease]) => {
      const value = read(given, key);
      return value === undefined ? [] : [{ key, lease, value: loading.isolate(value) }];
    });
    const filled = await Promise.all(values.map(({ lease, value }) => lease.fill(value, terms)));
    for (const [at, { key }] of values.entries()) found.set(key, filled[at]!.value);
  } catch (error) {
    running.loaderEnded();
    const stale = [...leases].map(([key, lease]) => [key, lease.fallback()] as const);
    for (const lease of leases.values()) lease.fail(error);
    if (stale.some(([, value]) => value === undefined)) throw error;
    for (const [key, value] of stale) found.set(key, value);
    loading.servedStale(stale[0]![0], error);
  } finally {
    for (const lease of leases.values()) lease.abandon();
  }
  return found;
}
