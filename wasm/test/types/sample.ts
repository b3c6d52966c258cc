// What a program that uses the package looks like to the compiler. It is checked, and never run.

import {
  ANY,
  type Cache,
  type CacheOptions,
  type Coherence,
  DonjonError,
  FOREVER,
  type Loader,
  LockLostError,
  type LookupMiss,
  ManualClock,
  type Mode,
  type Stats,
  type Store,
  type Ttl,
  createCache,
  escapePattern,
  key,
  matches,
  pattern,
} from "donjon";
import { kv } from "donjon/kv";
import { type MemoryOptions, type NearMemory, memory } from "donjon/near";
import { type NearOptions, redis } from "donjon/redis";
import { upstash } from "donjon/upstash";

interface User {
  readonly id: number;
  readonly name: string;
}

declare const load: (id: number) => Promise<User>;

const options: CacheOptions = {
  namespace: "app",
  maxBytes: 2 ** 20,
  defaultTtl: "5m",
  ttlClasses: { brief: 5, ever: FOREVER },
  copy: "freeze",
  clock: new ManualClock(),
};
const cache: Cache = createCache(options);

const found: User | undefined = await cache.get<User>("user:1");
const peeked: User | undefined = cache.peek("user:1");
const loaded: User = await cache.getOrSet("user:1", () => load(1), {
  ttl: "5m",
  grace: 1_000,
  tags: ["users"],
  signal: AbortSignal.timeout(5),
});
const loader: Loader<User> = async ({ key: asked, signal }) => (signal.aborted ? load(0) : load(asked.length));
const many: Map<string, User> = await cache.getOrSetMany(
  ["user:1"],
  async (keys) => new Map(await Promise.all(keys.map(async (one) => [one, await load(1)] as const))),
);
const wrapped = cache.wrap(load, { key: (id) => ["user", id], tags: (id) => [`user:${id}`], ttl: "stats" });
const ofWrapped: User = await wrapped(1);
const removed: number = (await wrapped.invalidate(1)).count;
const lookup = await cache.lookup<User>("user:1");
if (lookup.isHit) lookup.value.name.toUpperCase();
else {
  const miss: LookupMiss<User> = lookup;
  const { value, isStored } = await miss.fill(await load(1), { ttl: FOREVER });
  value.name.toUpperCase();
  isStored satisfies boolean;
}
for await (const { channel, data } of cache.subscribe<{ job: number }>(["jobs"])) `${channel} ${data.job}`.trim();
const lock = await cache.lock("job", { ttl: "1m", wait: 0 });
lock.fence satisfies number;
lock.lost.addEventListener("abort", () => undefined);
if (lock.lost.reason instanceof LockLostError && lock.lost.reason instanceof DonjonError) await lock.release();
const { hitRate, restarts }: Stats = cache.stats();
cache.rules.on("user.updated", { keys: ["user:{id}"] }).on("users.*", { patterns: [pattern("user", ANY)] });
await cache.emit("user.updated", { id: 5 });
await cache.warm(["user:1"], { loader, concurrency: 2 });
await cache.invalidatePattern(escapePattern(key("user", 5, null, true, 10n)));
matches("user:*", "user:1") satisfies boolean;
const ttl: Ttl = FOREVER;
await cache.touch("user:1", ttl);

declare const client: Parameters<typeof redis>[0];
const store: Store = redis(client);
await using shared = createCache({ store, waitUntil: (work) => void work });
using own = createCache();

// @ts-expect-error: a key is a text
await cache.get(5);
// @ts-expect-error: the loader's type is the outcome's
(await cache.getOrSet("n", () => 5)) satisfies string;
// @ts-expect-error: there is no such option
createCache({ maxSize: 5 });
// @ts-expect-error: nor such a way to copy
createCache({ copy: "deep" });
// @ts-expect-error: what is wrapped has the arguments of the function
await wrapped("1");
// @ts-expect-error: a miss has no value
if (!lookup.isHit) lookup.value;
// @ts-expect-error: a lock needs a time to live
await cache.lock("job");
// @ts-expect-error: a part of a key is no object
key({});

const late: MemoryOptions = { ttl: "2s", maxBytes: 2 ** 20, maxEntries: undefined };
const bounded: NearMemory = memory(late);
const overRest: Store = upstash({ url: "https://host", token: "token", near: bounded });
declare const namespace: Parameters<typeof kv>[0];
const overKv: Store = kv(namespace, { near: memory({ ttl: 2_000 }) });
const near: NearOptions = { maxBytes: 2 ** 20, maxEntries: 1_000, maxStale: 60_000, broadcast: false };
const mode: Mode = "strong";
const inFront = createCache({ mode, store: redis(client, { near }) });
const current: User | undefined = await inFront.get<User>("user:1", { mode });
const currents: Map<string, User> = await inFront.getMany<User>(["user:1"], { mode: "local" });
const also: User = await inFront.getOrSet("user:1", () => load(1), { mode, ttl: "5m" });
const alsoMany: Map<string, User> = await inFront.getOrSetMany(["user:1"], async () => ({ "user:1": await load(1) }), { mode });
const alsoLookup = await inFront.lookup<User>("user:1", { mode });
const coherence: Coherence | undefined = (await inFront.explain("user:1")).coherence ?? inFront.stats().coherence;
const byMemory: number = inFront.stats().memoryHits;

export { also, alsoLookup, alsoMany, byMemory, coherence, current, currents, overKv, overRest };
export { found, hitRate, loaded, many, ofWrapped, own, peeked, removed, restarts, shared };
