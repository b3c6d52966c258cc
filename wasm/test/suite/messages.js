/** Messages: whoever listens gets a copy of each, from when it began to listen, and no more than it has room for. */
import { ConfigError, InvalidKeyError } from "donjon";
import { about, equal, now, rejects, throws } from "./case.js";

export const test = about("messages");

const next = async (listener) => (await listener.next()).value;

test("all who listen get what is published from then on, in order", async ({ cache }) => {
  const it = cache();
  equal(await it.publish("news", "unheard"), 0);
  const [one, other] = [it.subscribe("news"), it.subscribe(["news", "jobs"])];
  equal(await it.publish("news", { a: [1] }), 2);
  equal(await it.publish("jobs", null), 1);
  equal(await it.publish("else", 1), 0);
  equal(await next(one), { channel: "news", data: { a: [1] } });
  equal(await next(other), { channel: "news", data: { a: [1] } });
  equal(await next(other), { channel: "jobs", data: null });
  equal(await now(one.next()), "pending");
});

test("T13: each who listens has a message of its own", async ({ cache }) => {
  const it = cache();
  const [one, other] = [it.subscribe("news"), it.subscribe("news")];
  const sent = { list: [1] };
  await it.publish("news", sent);
  sent.list.push(2);
  (await next(one)).data.list.push(3);
  equal((await next(other)).data, { list: [1] });
});

test("a subscription is walked through until it is closed", async ({ cache }) => {
  const it = cache();
  const listener = it.subscribe("news");
  const heard = [];
  const walk = (async () => {
    for await (const { data } of listener) {
      heard.push(data);
      if (data === 2) break;
    }
  })();
  await it.publish("news", 1);
  await it.publish("news", 2);
  await walk;
  equal(heard, [1, 2]);
  equal(await it.publish("news", 3), 0, "how many listen after the walk");
  equal(await listener.next(), { done: true, value: undefined });
});

test("who waits for a message is let go when the subscription or the cache is closed, or its signal fires", async ({ cache }) => {
  const it = cache();
  const over = { done: true, value: undefined };
  const leaver = new AbortController();
  const listeners = [it.subscribe("a"), it.subscribe("a", { signal: leaver.signal }), it.subscribe("a"), it.subscribe("a")];
  const waiting = listeners.map((listener) => listener.next());
  listeners[0].close();
  leaver.abort();
  await listeners[2][Symbol.asyncDispose]();
  equal(await Promise.all(waiting.slice(0, 3)), [over, over, over]);
  equal(await it.publish("b", 1), 0);
  await it.close();
  equal(await waiting[3], over);
  equal(await cache().subscribe("a", { signal: AbortSignal.abort() }).next(), over);
});

test("who is slow loses the oldest, and can tell how many", async ({ cache }) => {
  const it = cache();
  const listener = it.subscribe("news", { limit: 3 });
  for (let at = 0; at < 10; at++) await it.publish("news", at);
  equal(listener.dropped, 7);
  equal(
    [await next(listener), await next(listener), await next(listener)].map(({ data }) => data),
    [7, 8, 9],
  );
  equal(await now(listener.next()), "pending");
});

test("many messages are kept in order, taken one by one", async ({ cache }) => {
  const it = cache();
  const listener = it.subscribe("news", { limit: 5_000 });
  for (let at = 0; at < 5_000; at++) await it.publish("news", at);
  for (let at = 0; at < 5_000; at++) equal((await next(listener)).data, at);
  equal(listener.dropped, 0);
});

test("channels that are taken literally are others than the cache's own", async ({ cache }) => {
  const it = cache();
  const [own, raw] = [it.subscribe("news"), it.subscribe("news", { raw: true })];
  equal(await it.publish("news", "own"), 1);
  equal(await it.publish("news", "raw", { raw: true }), 1);
  equal((await next(own)).data, "own");
  equal((await next(raw)).data, "raw");
});

test("a channel is named as a key is", async ({ cache }) => {
  const it = cache();
  for (const channel of ["", 5, null, undefined, "\ud800", "a".repeat(1_025)]) {
    await rejects(it.publish(channel, 1), InvalidKeyError);
    throws(() => it.subscribe([channel]), InvalidKeyError);
  }
  throws(() => it.subscribe([]), InvalidKeyError);
  for (const limit of [0, -1, 1.5, Number.NaN]) throws(() => it.subscribe("a", { limit }), ConfigError);
});
