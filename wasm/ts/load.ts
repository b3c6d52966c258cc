/**
 * Load: from a key to its value, loading it at most once for everyone who asks.
 *
 * Owns the manners of a load: it goes on while anybody waits for it, whoever began it; on every way out the right to load is given
 * up; a wait is bounded, and past the bound a caller loads for itself and stores nothing. Who loads, who waits and what is stored
 * are the core's decisions.
 */
import { owned, within } from "./scope.js";
import { type Eventually, type Join, type Lease, type Step, type Terms, type Tier, type Want } from "./tier.js";
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

/** A load under way, and how many callers it runs for. */
export class Running {
  #interested = 0;
  readonly #controller = new AbortController();

  constructor(readonly lease: Lease) {}

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  join(): void {
    this.#interested++;
  }

  /** One caller less. With the last one the load is given up. */
  leave(reason: unknown): void {
    if (--this.#interested > 0) return;
    this.lease.abandon();
    this.#controller.abort(reason);
  }
}

/** What a key has: a value, or the right to load one, perhaps with a stale value to serve meanwhile. */
export type Found =
  | { readonly lease?: undefined; readonly value: unknown }
  | { readonly lease: Lease; readonly value: unknown };

/** Looks a key up; waits for another's load where there is one. */
export async function seek(loading: Loading, key: string, asked: Asked): Promise<Found> {
  const { tier } = loading;
  const own = owned(tier);
  const { since, signal } = asked;
  const interest = (ticket: number): Running | undefined => loading.running.get(ticket);
  let again = asked.again ?? false;
  let deadline: number | undefined;
  for (;;) {
    signal?.throwIfAborted();
    const tags = asked.hasLateTags === true ? undefined : asked.terms.tags;
    const want: Want = { since, tags, again, own, isImpatient: false, signal, interest };
    const step: Step = await tier.begin(key, want);
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
  const loaded = lead(loading, found.lease, loader, asked);
  if (found.value === undefined || loading.waitUntil === undefined) return (await loaded) as T;
  loading.waitUntil(loaded.catch(() => undefined));
  return found.value as T;
}

/** Waits for another's load. */
async function wait(loading: Loading, join: Join, atMost: number, signal: AbortSignal | undefined) {
  const running = loading.running.get(join.ticket);
  running?.join();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let abort: (() => void) | undefined;
  try {
    const races: Promise<Awaited<Join["ended"]> | "late">[] = [join.ended];
    if (atMost < 0x7fff_ffff) races.push(new Promise((resolve) => (timer = setTimeout(() => resolve("late"), Math.max(0, atMost)))));
    if (signal !== undefined) {
      races.push(
        new Promise((_, reject) => {
          abort = () => reject(signal.reason as Error);
          signal.addEventListener("abort", abort, { once: true });
        }),
      );
    }
    const ended = await Promise.race(races);
    if (ended === "late") join.leave();
    return ended;
  } catch (error) {
    join.leave();
    running?.leave(error);
    throw error;
  } finally {
    clearTimeout(timer);
    if (abort !== undefined) signal?.removeEventListener("abort", abort);
  }
}

/** Loads under a lease. The load goes on where its caller leaves while others wait. */
async function lead(loading: Loading, lease: Lease, loader: Loader<unknown>, { terms, signal }: Asked): Promise<unknown> {
  const running = new Running(lease);
  running.join();
  loading.running.set(lease.ticket, running);
  const loaded = run(loading, running, loader, terms).finally(() => {
    if (loading.running.get(lease.ticket) === running) loading.running.delete(lease.ticket);
  });
  if (signal === undefined) return loaded;
  let abort!: () => void;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => {
      running.leave(signal.reason);
      reject(signal.reason as Error);
    };
  });
  signal.addEventListener("abort", abort, { once: true });
  // Whoever is gone does not hear how it ends.
  loaded.catch(() => undefined);
  try {
    return await Promise.race([loaded, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

async function run(loading: Loading, { lease, signal }: Running, loader: Loader<unknown>, terms: Terms): Promise<unknown> {
  let value: unknown;
  try {
    value = await within(loading.tier, lease.ticket, () => loader({ key: lease.key, signal }));
  } catch (error) {
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
  const want: Want = {
    since: -1,
    tags: asked.terms.tags,
    again: false,
    own: owned(tier),
    isImpatient: true,
    signal: asked.signal,
    interest: () => undefined,
  };
  const found = new Map<string, T>();
  const leases = new Map<string, Lease>();
  const later: string[] = [];
  const wanted = [...new Set(keys)];
  try {
    const steps = await Promise.all(wanted.map((key) => tier.begin(key, want)));
    let failed: { readonly error: unknown } | undefined;
    for (const [at, step] of steps.entries()) {
      const key = wanted[at]!;
      if (step.kind === "value") found.set(key, step.value as T);
      else if (step.kind === "load" || step.kind === "stale") leases.set(key, step.lease);
      else if (step.kind === "failed") failed ??= step;
      else later.push(key);
    }
    if (failed !== undefined) throw failed.error;
    if (leases.size > 0) await leadMany(loading, leases, loader, asked, found);
  } finally {
    for (const lease of leases.values()) lease.abandon();
  }
  for (const key of later) {
    const alone: Loader<unknown> = async ({ signal }) => fieldOf(await loader([key], { signal }), key);
    try {
      found.set(key, (await load(loading, key, alone, { ...asked, again: true })) as T);
    } catch (error) {
      if (!(error instanceof LeftOut)) throw error;
    }
  }
  return new Map(wanted.filter((key) => found.has(key)).map((key) => [key, found.get(key)!]));
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

async function leadMany(
  loading: Loading,
  leases: ReadonlyMap<string, Lease>,
  loader: (keys: string[], context: { readonly signal: AbortSignal }) => Eventually<unknown>,
  { terms, signal }: Asked,
  found: Map<string, unknown>,
): Promise<void> {
  const run = (all: readonly Lease[], what: () => Eventually<unknown>): Eventually<unknown> => {
    const [first, ...rest] = all;
    return first === undefined ? what() : within(loading.tier, first.ticket, () => run(rest, what));
  };
  try {
    const given = await run([...leases.values()], () => loader([...leases.keys()], { signal: signal ?? new AbortController().signal }));
    const values = [...leases].flatMap(([key, lease]) => {
      const value = read(given, key);
      return value === undefined ? [] : [{ key, lease, value: loading.isolate(value) }];
    });
    const filled = await Promise.all(values.map(({ lease, value }) => lease.fill(value, terms)));
    for (const [at, { key }] of values.entries()) found.set(key, filled[at]!.value);
  } catch (error) {
    const stale = [...leases].map(([key, lease]) => [key, lease.fallback()] as const);
    for (const lease of leases.values()) lease.fail(error);
    if (stale.some(([, value]) => value === undefined)) throw error;
    for (const [key, value] of stale) found.set(key, value);
    loading.servedStale(stale[0]![0], error);
  }
}
