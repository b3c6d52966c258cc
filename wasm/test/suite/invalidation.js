/** What was invalidated is gone when the call resolves, and what was loaded before is not stored after it. */
import { InvalidPatternError } from "donjon";
import { about, byHand, equal, giving, ok, rejects, turn } from "./case.js";

export const test = about("invalidation");

const WAYS = {
  "its key is deleted": (it) => it.delete("user:1"),
  "its key is deleted among others": (it) => it.deleteMany(["a", "user:1"]),
  "a pattern matches it": (it) => it.invalidatePattern("user:*"),
  "a tag of it is invalidated": (it) => it.invalidateTags("users"),
  "the namespace is cleared": (it) => it.clear(),
  "a star, which means all, is invalidated": (it) => it.invalidatePattern("*"),
  "a rule names its key": (it) => it.emit("user.updated", { id: 1 }),
  "a rule names a pattern": (it) => it.emit("users.imported"),
  "a rule names a tag": (it) => it.emit("users.gone"),
};

function withRules(it) {
  it.rules.on("user.updated", { keys: ["user:{id}"] });
  it.rules.on("users.imported", { patterns: ["user:*"] });
  it.rules.on("users.gone", { tags: ["users"] });
  return it;
}

for (const [way, invalidate] of Object.entries(WAYS)) {
  test(`T1: a load is not stored when ${way} while it runs`, async ({ cache }) => {
    const it = withRules(cache());
    const load = byHand();
    const options = { tags: ["users"] };
    const led = it.getOrSet("user:1", load, options);
    const call = await load.started(1);
    await invalidate(it);
    const after = it.getOrSet("user:1", load, options);
    call.give("old");
    equal(await led, "old", "what the leader gets");
    const again = await load.started(2);
    equal(await it.get("user:1"), undefined);
    again.give("new");
    equal(await after, "new", "what is got after the invalidation");
    equal(await it.get("user:1"), "new");
  });

  test(`a value is gone when ${way}`, async ({ cache }) => {
    const it = withRules(cache());
    await it.set("user:1", "old", { tags: ["users"] });
    await it.set("other", "stays");
    await invalidate(it);
    equal(await it.get("user:1"), undefined);
    equal(it.peek("user:1"), undefined);
    equal(await it.getOrSet("user:1", giving("new")), "new");
  });

  test(`a stale value is gone when ${way}`, async ({ cache, clock }) => {
    const it = withRules(cache());
    await it.set("user:1", "old", { tags: ["users"], ttl: 10, grace: 1_000 });
    clock.advance(20);
    equal(await it.get("user:1"), "old");
    await invalidate(it);
    equal(await it.get("user:1"), undefined);
    await rejects(
      it.getOrSet("user:1", () => Promise.reject(new RangeError("down"))),
      RangeError,
    );
  });
}

test("T1: a value set while a load runs stays", async ({ cache }) => {
  const it = cache();
  const load = byHand();
  const led = it.getOrSet("k", load);
  const call = await load.started(1);
  await it.set("k", "set");
  call.give("old");
  await led;
  equal(await it.get("k"), "set");
});

test("T1: an invalidation before the load leaves it alone", async ({ cache }) => {
  const it = cache();
  await it.invalidateTags("t");
  await it.invalidatePattern("k*");
  await it.getOrSet("k", () => 1, { tags: ["t"] });
  equal(await it.get("k"), 1);
});

test("T1: a pattern, a tag or a key of others leaves a load alone", async ({ cache }) => {
  const it = cache();
  const load = byHand();
  const led = it.getOrSet("user:1", load, { tags: ["users"] });
  const call = await load.started(1);
  await it.delete("user:2");
  await it.invalidatePattern("job:*");
  await it.invalidateTags("jobs");
  call.give("v");
  await led;
  equal(await it.get("user:1"), "v");
});

test("T1: a miss that was looked up before an invalidation is not filled after it", async ({ cache }) => {
  const it = withRules(cache());
  for (const [way, invalidate] of Object.entries(WAYS)) {
    const miss = await it.lookup("user:1");
    await invalidate(it);
    equal(await miss.fill("old", { tags: ["users"] }), { value: "old", isStored: false }, `the fill after ${way}`);
    equal(await it.get("user:1"), undefined);
  }
});

test("a tag invalidates all that carry it, at once, and nothing else", async ({ cache }) => {
  const it = cache();
  await it.set("a", 1, { tags: ["x", "y"] });
  await it.set("b", 2, { tags: ["y"] });
  await it.set("c", 3, { tags: ["z"] });
  await it.set("d", 4);
  await it.invalidateTags("x", "z");
  equal(
    await it.getMany(["a", "b", "c", "d"]),
    new Map([
      ["b", 2],
      ["d", 4],
    ]),
  );
  await it.set("a", 5, { tags: ["x"] });
  equal(await it.get("a"), 5);
  await it.invalidateTags();
  equal(await it.get("a"), 5);
});

test("a pattern is a glob as Redis has it, and counts what it removed", async ({ cache }) => {
  const it = cache();
  await it.setMany({ "user:1:profile": 1, "user:2:profile": 2, "user:2:jobs": 3, "a.b1": 4, axb1: 5 });
  equal(await it.invalidatePattern("user:*:profile"), { count: 2, queued: false });
  equal(await it.invalidatePattern("a.b*"), { count: 1, queued: false });
  equal(
    await it.getMany(["user:2:jobs", "axb1"]),
    new Map([
      ["user:2:jobs", 3],
      ["axb1", 5],
    ]),
  );
  equal(await it.invalidatePattern("[u-w]ser:?:jobs"), { count: 1, queued: false });
  equal(await it.invalidatePattern("none*"), { count: 0, queued: false });
});

test("T12: clear removes all of this namespace, and nothing else", async ({ cache }) => {
  const [it, other] = [cache({ namespace: "a" }), cache({ namespace: "ab" })];
  await it.setMany(new Map(Array.from({ length: 2_500 }, (_, at) => [`k${at}`, at])));
  await other.set("k0", "stays");
  equal(await it.clear(), { count: 2_500, queued: false });
  equal(it.size, 0);
  equal(await it.get("k0"), undefined);
  equal(await it.get("k2499"), undefined);
  equal(await other.get("k0"), "stays");
  equal(await it.clear(), { count: 0, queued: false });
});

test("rules of events name keys, patterns and tags, and an event that none names does nothing", async ({ cache }) => {
  const it = cache();
  it.rules
    .on("document.created", { patterns: ["documents:list*"] })
    .on("document.updated", { keys: ["document:{id}"], patterns: ["documents:*summary*"], tags: ["document:{id}"] })
    .on("job.*", { patterns: ["jobs:*"] });
  const fill = async () => {
    await it.setMany({ "documents:list:1": 1, "document:123": 2, "document:124": 3, "documents:all:summary": 4, "jobs:7": 5 });
    await it.set("page", 6, { tags: ["document:123"] });
  };
  const left = async () => [
    ...(await it.getMany(["documents:list:1", "document:123", "document:124", "documents:all:summary", "jobs:7", "page"])).values(),
  ];
  await fill();
  await it.emit("document.created");
  equal(await left(), [2, 3, 4, 5, 6]);
  await fill();
  await it.emit("document.updated", { id: 123 });
  equal(await left(), [1, 3, 5]);
  await fill();
  await it.emit("job.finished", { id: null });
  equal(await left(), [1, 2, 3, 4, 6]);
  await fill();
  await it.emit("unheard.of");
  equal(await left(), [1, 2, 3, 4, 5, 6]);
});

test("what an event is about is escaped, so that it names no other key", async ({ cache }) => {
  const it = cache();
  it.rules.on("user.updated", { keys: ["user:{id}"], patterns: ["user:{id}:*"] });
  await it.setMany({ "user:*": 1, "user:1:a": 2, "user:%2A:a": 3, "user:*:a": 4 });
  await it.emit("user.updated", { id: "*" });
  equal(await it.getMany(["user:*", "user:1:a", "user:*:a"]), new Map([["user:1:a", 2]]));
});

test("those who ask while a key is being deleted again and again get what is newest", async ({ cache }) => {
  const it = cache();
  let source = 0;
  for (let round = 0; round < 50; round++) {
    const load = byHand();
    const before = it.getOrSet("k", load);
    const call = await load.started(1);
    const old = source++;
    await it.delete("k");
    const after = it.getOrSet("k", giving(source));
    call.give(old);
    await before;
    equal(await after, source);
    equal(await it.get("k"), source);
    await it.delete("k");
  }
});

test("a pattern that is refused changes nothing", async ({ cache }) => {
  const it = cache();
  await it.set("k", 1);
  await rejects(it.invalidatePattern(""), InvalidPatternError);
  await turn();
  ok((await it.get("k")) === 1, "the value is there");
});
