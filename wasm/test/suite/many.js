/** Many keys, one loader: it is called once, with what is missing, and shares loads with those who ask for one key. */
import { about, byHand, equal, giving, neverRun, now, ok, rejects, turn, until } from "./case.js";

export const test = about("many");

class Down extends Error {}

/** A loader of many that a case answers by hand. */
function manyByHand() {
  const calls = [];
  const load = (keys, { signal }) => new Promise((give, fail) => calls.push({ keys, signal, give, fail }));
  load.calls = calls;
  load.started = async (number) => {
    await until(() => calls.length >= number);
    return calls[number - 1];
  };
  return load;
}

test("the loader is called once, with the keys that are missing, each once", async ({ cache }) => {
  const it = cache();
  await it.set("b", 2);
  const asked = [];
  const load = (keys) => {
    asked.push(keys);
    return { a: 1, c: 3, unasked: 4 };
  };
  equal(
    await it.getOrSetMany(["a", "b", "c", "a"], load),
    new Map([
      ["a", 1],
      ["b", 2],
      ["c", 3],
    ]),
  );
  equal(asked, [["a", "c"]]);
  equal(
    await it.getOrSetMany(["a", "b", "c"], neverRun),
    new Map([
      ["a", 1],
      ["b", 2],
      ["c", 3],
    ]),
  );
  equal(await it.get("unasked"), undefined);
  equal(await it.getOrSetMany([], neverRun), new Map());
});

test("a map is as good as an object, and null a value", async ({ cache }) => {
  const it = cache();
  equal(
    await it.getOrSetMany(
      ["a", "b"],
      async () =>
        new Map([
          ["a", null],
          ["b", 0],
        ]),
    ),
    new Map([
      ["a", null],
      ["b", 0],
    ]),
  );
  equal(
    await it.getMany(["a", "b"]),
    new Map([
      ["a", null],
      ["b", 0],
    ]),
  );
});

test("a key that the loader leaves out has no value, and is free for the next", async ({ cache }) => {
  const it = cache();
  equal(await it.getOrSetMany(["a", "b", "toString", "__proto__"], () => ({ a: 1 })), new Map([["a", 1]]));
  equal(await it.get("b"), undefined);
  equal(it.stats().flights, 0);
  equal(await it.getOrSet("b", giving(2)), 2);
});

test("who asks for one of the keys meanwhile shares the load", async ({ cache }) => {
  const it = cache();
  const load = manyByHand();
  const many = it.getOrSetMany(["a", "b"], load);
  const call = await load.started(1);
  const one = it.getOrSet("a", neverRun);
  await turn();
  call.give({ a: 1, b: 2 });
  equal(await one, 1);
  equal(
    await many,
    new Map([
      ["a", 1],
      ["b", 2],
    ]),
  );
});

test("callers whose keys overlap load each key once, and wait for each other", async ({ cache }) => {
  const it = cache();
  const [left, right] = [manyByHand(), manyByHand()];
  const one = it.getOrSetMany(["a", "b"], left);
  const other = it.getOrSetMany(["b", "c"], right);
  const [first, second] = [await left.started(1), await right.started(1)];
  equal(first.keys, ["a", "b"]);
  equal(second.keys, ["c"]);
  second.give({ c: 3 });
  await turn();
  first.give({ a: 1, b: 2 });
  equal(
    await one,
    new Map([
      ["a", 1],
      ["b", 2],
    ]),
  );
  equal(
    await other,
    new Map([
      ["b", 2],
      ["c", 3],
    ]),
  );
});

test("a key of another's load that is left out is asked for anew, alone", async ({ cache }) => {
  const it = cache();
  const [left, right] = [manyByHand(), manyByHand()];
  const one = it.getOrSetMany(["a"], left);
  const first = await left.started(1);
  const other = it.getOrSetMany(["a", "b"], right);
  (await right.started(1)).give({ b: 2 });
  await turn();
  first.give({});
  equal(await one, new Map());
  const again = await right.started(2);
  equal(again.keys, ["a"]);
  again.give({ a: 1 });
  equal(
    await other,
    new Map([
      ["a", 1],
      ["b", 2],
    ]),
  );
});

test("T9: an error of the loader reaches all who wait for any of its keys", async ({ cache }) => {
  const it = cache();
  const load = manyByHand();
  const many = it.getOrSetMany(["a", "b"], load);
  const call = await load.started(1);
  const one = it.getOrSet("b", neverRun);
  await turn();
  const error = new Down();
  call.fail(error);
  ok((await rejects(many, Down)) === error, "it is the loader's own");
  ok((await rejects(one, Down)) === error, "it is the loader's own");
  equal(it.stats().flights, 0);
});

test("a loader that gives no mapping is an error", async ({ cache }) => {
  const it = cache();
  for (const given of [undefined, null, 5, "text", [1, 2]])
    await rejects(
      it.getOrSetMany(["a", "b"], () => given),
      TypeError,
    );
  await rejects(it.getOrSetMany(["a"], 5), TypeError);
  equal(it.stats().flights, 0);
});

test("T1: what was invalidated while it was loaded is not stored, the rest is", async ({ cache }) => {
  const it = cache();
  const load = manyByHand();
  const many = it.getOrSetMany(["a", "b"], load);
  const call = await load.started(1);
  await it.delete("a");
  call.give({ a: "old", b: 2 });
  equal(
    await many,
    new Map([
      ["a", "old"],
      ["b", 2],
    ]),
  );
  equal(await it.get("a"), undefined);
  equal(await it.get("b"), 2);
});

test("T2: who leads may leave: the load goes on for who waits for one of its keys", async ({ cache }) => {
  const it = cache();
  const load = manyByHand();
  const leader = new AbortController();
  const many = it.getOrSetMany(["a", "b"], load, { signal: leader.signal });
  const call = await load.started(1);
  const one = it.getOrSet("b", neverRun);
  await turn();
  leader.abort(new Down("went away"));
  await rejects(many, Down);
  equal(call.signal.aborted, false, "the load's signal while one waits");
  call.give({ a: 1, b: 2 });
  equal(await one, 2);
  equal(await it.get("a"), 1);
});

test("T2: with the last one the load is aborted, and its keys are free", async ({ cache }) => {
  const it = cache();
  const load = manyByHand();
  const leader = new AbortController();
  const many = it.getOrSetMany(["a", "b"], load, { signal: leader.signal });
  const call = await load.started(1);
  const waits = new AbortController();
  const one = it.getOrSet("b", neverRun, { signal: waits.signal });
  await turn();
  leader.abort(new Down("the first"));
  await rejects(many, Down);
  waits.abort(new Down("the last"));
  await rejects(one, Down);
  equal(call.signal.aborted, true, "the load's signal");
  equal(call.signal.reason.message, "the last");
  equal(it.stats().flights, 0);
  equal(await it.getOrSet("a", giving(1)), 1);
});

test("a loader of many that asks for one of its keys does not wait for itself", async ({ cache }) => {
  const it = cache({ loadTimeout: 50 });
  const values = await it.getOrSetMany(["a", "b"], async () => ({ a: await it.getOrSet("a", () => "inner"), b: 2 }));
  equal(
    values,
    new Map([
      ["a", "inner"],
      ["b", 2],
    ]),
  );
});

test("who waits for a key of a load by one waits no longer than it", async ({ cache }) => {
  const it = cache();
  const load = byHand();
  const one = it.getOrSet("a", load);
  const call = await load.started(1);
  const many = it.getOrSetMany(["a"], neverRun);
  equal(await now(many), "pending");
  call.give(1);
  equal(await one, 1);
  equal(await many, new Map([["a", 1]]));
});
