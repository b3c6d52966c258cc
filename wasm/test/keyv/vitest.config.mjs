/** vitest is here for Keyv's suite alone, which is written for it. */
export default { test: { include: ["suite.mjs"], root: import.meta.dirname, watch: false, cache: false } };
