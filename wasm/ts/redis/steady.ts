/**
 * Steady: milliseconds that count on while the machine is suspended, which the host's own monotonic clock need not do. A wall clock that
 * was set ahead looks the same, and costs memory what it believes, no more.
 */

/** The wall clock is moved by less than that, as it is kept right, between two looks. */
const SET_BY = 50;

export class SteadyClock {
  #wall = NaN;
  #ahead = NaN;
  #slept = 0;
  #reading = 0;

  /** Never goes back. One look at the clocks serves for as long as the wall shows the same millisecond. */
  now(): number {
    const wall = Date.now();
    if (wall !== this.#wall) this.#look(wall);
    return this.#reading;
  }

  #look(wall: number): void {
    const steady = performance.now();
    const ahead = wall - steady;
    if (ahead - this.#ahead > SET_BY) this.#slept += ahead - this.#ahead;
    this.#ahead = ahead;
    this.#wall = wall;
    this.#reading = steady + this.#slept;
  }
}
