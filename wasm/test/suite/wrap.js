/** Wrapped functions: what they give is cached by keys made of their arguments. */
import { InvalidKeyError, InvalidTtlError } from "donjon";
import { about, equal, now, rejects } from "./case.js";

export const test = about("wrap");

function counting(it, options) {
  const calls = [];
  const fn = async (...args) => {
    calls.push(args);
    return { args, call: calls.length };
  };
  return [it.wrap(fn, { key: (id) => ["user", id], ...options }), calls];
}

test("a call is made once for its arguments, and told apart by them", async ({ cache }) => {
  const it = cache();
  const [load, calls] = counting(it);
  equal(await load(1), { args: [1], call: 1 });
  equal(await load(1), { args: [1], call: 1 });
  equal(await load(2), { args: [2], call: 2 });
  equal(calls, [[1], [2]]);
  equal(load.key(1), "user:1");
  equal(await it.get("user:2"), { args: [2], call: 2 });
});

test("what stands in a key is escaped, so that arguments cannot be taken for others", async ({ cache }) => {
  const it = cache();
  const load = it.wrap((a, b) => [a, b], { key: (a, b) => ["pair", a, b] });
  equal(await load("a:b", "c"), ["a:b", "c"]);
  equal(await load("a", "b:c"), ["a", "b:c"]);
  equal(load.key("a:b", "c"), "pair:a%3Ab:c");
  await rejects(it.wrap(() => 1, { key: (x) => ["k", x] })(undefined), InvalidKeyError);
  await rejects(it.wrap(() => 1, { key: (x) => ["k", x] })(0.5), InvalidKeyError);
  await rejects(it.wrap(() => 1, { key: () => "" })(), InvalidKeyError);
});

test("calls at once share one", async ({ cache }) => {
  const [load, calls] = counting(cache());
  equal(await Promise.all([load(1), load(1), load(1)]), Array(3).fill({ args: [1], call: 1 }));
  equal(calls.length, 1);
});

test("it is invalidated by its arguments, by its tags, and refreshed", async ({ cache, clock }) => {
  const it = cache();
  const [load] = counting(it, { ttl: 1_000, tags: (id) => [`user:${id}`, "users"] });
  equal(await load.get(1), undefined);
  equal((await load(1)).call, 1);
  equal(await load.invalidate(1), { count: 1, queued: false });
  equal(await load.invalidate(1), { count: 0, queued: false });
  equal((await load(1)).call, 2);
  equal((await load.refresh(1)).call, 3);
  equal((await load.get(1)).call, 3);
  await it.invalidateTags("user:2");
  equal((await load(1)).call, 3);
  await it.invalidateTags("user:1");
  equal((await load(1)).call, 4);
  clock.advance(1_000);
  equal(await load.get(1), undefined);
  equal((await load(1)).call, 5);
});

test("its terms are checked when it is called, before the function is", async ({ cache }) => {
  const it = cache();
  const [load, calls] = counting(it, { ttl: 0 });
  await rejects(load(1), InvalidTtlError);
  equal(calls, []);
});

test("its error is the caller's, and is not cached", async ({ cache }) => {
  const it = cache();
  let fails = true;
  const load = it.wrap(
    () => {
      if (fails) throw new RangeError("no");
      return 1;
    },
    { key: () => "k" },
  );
  await rejects(load(), RangeError);
  fails = false;
  equal(await now(load()), { value: 1 });
});
