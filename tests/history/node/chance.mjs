/** Chance: one stream of draws a process, which its seed repeats. */

export class Chance {
  #state;

  constructor(seed) {
    this.#state = 0x811c9dc5;
    for (const letter of seed) this.#state = Math.imul(this.#state ^ letter.codePointAt(0), 0x01000193);
  }

  /** From 0 to 1, without 1: mulberry32. */
  draw() {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Whether something of this probability happens. */
  happens(share) {
    return this.draw() < share;
  }

  /** One of a list that is not empty. */
  one(among) {
    return among[Math.floor(this.draw() * among.length)];
  }

  /** Some of a list, in any order. */
  some(among, many) {
    const left = [...among];
    return Array.from({ length: Math.min(many, left.length) }, () => left.splice(Math.floor(this.draw() * left.length), 1)[0]);
  }

  /** One of the names of some weights. */
  weighed(weights) {
    const all = Object.entries(weights);
    let drawn = this.draw() * all.reduce((sum, [, weight]) => sum + weight, 0);
    return (all.find(([, weight]) => (drawn -= weight) < 0) ?? all.at(-1))[0];
  }

  /** Seconds that a load takes on its way: often none, mostly few, seldom many. */
  delay() {
    const drawn = this.draw();
    if (drawn < 0.3) return 0;
    return drawn * (drawn > 0.98 ? 0.15 : 0.02);
  }
}
