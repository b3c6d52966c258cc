/** The cases that all languages share, as data: keys, patterns, templates and globs. */
import { ANY, ConfigError, InvalidKeyError, InvalidPatternError, InvalidRuleError, escapePattern, key, matches, pattern } from "donjon";
import { about, equal, ok, rejects, throws } from "./case.js";

export const test = about("vectors");

test("namespaces", async ({ cache, vectors }) => {
  for (const namespace of vectors.keys.namespaces.valid) equal(cache({ namespace }).namespace, namespace);
  for (const namespace of vectors.keys.namespaces.invalid) throws(() => cache({ namespace }), ConfigError);
});

test("parts of keys", async ({ vectors }) => {
  for (const { part, escaped } of vectors.keys.parts) equal(key("k", part), `k:${escaped}`);
});

test("keys", async ({ vectors }) => {
  for (const { parts, key: expected, error } of vectors.keys.keys) {
    if (error !== undefined) throws(() => key(...parts), InvalidKeyError);
    else equal(key(...parts), expected);
  }
});

test("patterns of keys", async ({ vectors }) => {
  for (const { parts, pattern: expected } of vectors.keys.patterns) {
    equal(pattern(...parts.map((part) => (part === null ? ANY : part))), expected);
  }
});

test("templates, as the keys of rules", async ({ cache, vectors }) => {
  for (const { template, values, key: expected, missing } of vectors.keys.templates) {
    const it = cache();
    it.rules.on("event", { keys: [template] });
    if (missing !== undefined) {
      await rejects(it.emit("event", values), InvalidRuleError, new RegExp(missing));
      continue;
    }
    await it.set(expected, 1);
    equal(await it.emit("event", values), { count: 1, queued: false }, `what ${template} removed`);
  }
  for (const { template } of vectors.keys.invalid_templates)
    throws(() => cache().rules.on("event", { keys: [template] }), InvalidRuleError);
});

test("globs, as Redis answers them", async ({ vectors }) => {
  const { texts, patterns } = vectors.glob;
  for (const { pattern: glob, matches: expected } of patterns) {
    const found = texts.flatMap((text, at) => (matches(glob, text) ? [at] : []));
    equal(found, expected, `what ${JSON.stringify(glob)} matches`);
  }
});

test("globs, as what they remove", async ({ cache, vectors }) => {
  const it = cache();
  const texts = vectors.glob.texts.filter((text) => text !== "");
  for (const { pattern: glob, matches: expected } of vectors.glob.patterns) {
    await it.setMany(new Map(texts.map((text) => [text, 1])));
    await it.invalidatePattern(glob);
    const gone = texts.filter((text) => it.peek(text) === undefined);
    const isAll = /^\*+$/.test(glob);
    equal(
      gone,
      isAll ? texts : expected.map((at) => vectors.glob.texts[at]).filter((text) => text !== ""),
      `what ${JSON.stringify(glob)} removes`,
    );
  }
});

test("globs that are refused", async ({ vectors }) => {
  for (const glob of vectors.glob.refused) throws(() => matches(glob, "a"), InvalidPatternError);
});

test("a text escaped is a pattern of itself alone", async ({ vectors }) => {
  for (const text of vectors.glob.texts.filter((one) => one !== "")) {
    const escaped = escapePattern(text);
    for (const other of vectors.glob.texts) ok(matches(escaped, other) === (other === text), `${escaped} and ${other}`);
  }
});
