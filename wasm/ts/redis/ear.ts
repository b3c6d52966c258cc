/**
 * Ear: listens to channels over one connection, from the first to the last of those who listen.
 *
 * When the connection is lost it is made anew, at growing intervals, and all channels are listened to again. A sign of life is asked
 * for now and then, so that a connection that is open on this side alone is noticed. Must not know what a message means.
 */
import { unref } from "../timers.js";
import { Fault, type Library, type Listening, within } from "./connection.js";
import type { Patience } from "./link.js";

type Heard = (message: Uint8Array) => void;

/** A channel that somebody listens to, or that Redis still sends. */
interface Channel {
  readonly listeners: Set<Heard>;
  /** On the connection of now. */
  standing: "wanted" | "confirmed" | "refused";
}

const FIRST_PAUSE = 20;
const LONGEST_PAUSE = 2_000;

/** How long nothing may be said to Redis, and how long a connection is kept that nobody needs. */
const IDLE = 3_000;

export class Ear {
  readonly #library: Library;
  readonly #patience: Patience;
  readonly #channels = new Map<string, Channel>();
  /** Whether a connection is kept, or tried for; and why it is not there. */
  #isKept = false;
  #hasTrouble = false;
  #isClosed = false;
  #connection: Listening | undefined;
  /** Wakes the one who keeps the connection, and those who wait for something to change. */
  #errand: (() => void) | undefined;
  #news: (() => void)[] = [];

  constructor(library: Library, patience: Patience) {
    this.#library = library;
    this.#patience = patience;
  }

  /** Listens to a channel until what it gives is called. What is published before Redis has confirmed is not heard. */
  listen(name: string, heard: Heard): () => void {
    let channel = this.#channels.get(name);
    if (channel === undefined) this.#channels.set(name, (channel = { listeners: new Set(), standing: "wanted" }));
    if (channel.standing === "refused") channel.standing = "wanted";
    const { listeners } = channel;
    // Two who listen with one function are two.
    const own: Heard = (message) => heard(message);
    listeners.add(own);
    this.#errand?.();
    if (!this.#isKept) void this.#keep();
    return () => {
      if (listeners.delete(own)) this.#errand?.();
    };
  }

  /** Waits until a channel that somebody listens to was asked for, or cannot be. */
  async settled(name: string): Promise<void> {
    while (!this.#isClosed && !this.#hasTrouble) {
      const channel = this.#channels.get(name);
      if (channel === undefined || channel.listeners.size === 0 || channel.standing !== "wanted") return;
      await new Promise<void>((resolve) => this.#news.push(resolve));
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#connection?.end();
    this.#errand?.();
    this.#tell();
  }

  get #isNeeded(): boolean {
    for (const { listeners } of this.#channels.values()) if (listeners.size > 0) return !this.#isClosed;
    return false;
  }

  #tell(): void {
    for (const tell of this.#news.splice(0)) tell();
  }

  /** Keeps a connection for as long as it is needed. */
  async #keep(): Promise<void> {
    this.#isKept = true;
    let pause = FIRST_PAUSE;
    while (this.#isNeeded) {
      let wasUseful = false;
      try {
        const connection = await this.#library.listen!(this.#patience.connect, (name, message) => {
          if (message instanceof Uint8Array) for (const heard of this.#channels.get(name)?.listeners ?? []) heard(message);
        });
        this.#connection = connection;
        this.#hasTrouble = false;
        try {
          wasUseful = await this.#serve(connection);
        } finally {
          connection.end();
          this.#connection = undefined;
        }
      } catch {
        this.#hasTrouble = true;
      }
      for (const [name, channel] of [...this.#channels]) {
        channel.standing = "wanted";
        if (channel.listeners.size === 0) this.#channels.delete(name);
      }
      this.#tell();
      pause = wasUseful ? FIRST_PAUSE : Math.min(pause * 2, LONGEST_PAUSE);
      if (this.#isNeeded) await this.#idle(pause * (0.5 + Math.random() / 2));
    }
    this.#isKept = false;
    this.#hasTrouble = false;
  }

  /** Serves who listens until nobody does, or the connection is lost; says whether anything was confirmed on it. */
  async #serve(connection: Listening): Promise<boolean> {
    let [wasUseful, isOver] = [false, false];
    void connection.ended.then(() => {
      isOver = true;
      this.#errand?.();
    });
    try {
      for (;;) {
        let isIdle = true;
        for (const [name, channel] of [...this.#channels]) {
          if (isOver || this.#isClosed) return wasUseful;
          if (channel.listeners.size > 0 && channel.standing === "wanted") {
            channel.standing = (await this.#asked(connection.subscribe(name))) ? "confirmed" : "refused";
            wasUseful ||= channel.standing === "confirmed";
            isIdle = false;
            this.#tell();
          } else if (channel.listeners.size === 0) {
            if (channel.standing === "confirmed") await this.#asked(connection.unsubscribe(name));
            // Who came meanwhile is to be seen to.
            channel.standing = "wanted";
            if (channel.listeners.size === 0) this.#channels.delete(name);
            isIdle = false;
          }
        }
        if (!isIdle) continue;
        if (isOver || this.#isClosed) return wasUseful;
        if (await this.#idle(IDLE)) continue;
        if (!this.#isNeeded) return wasUseful;
        await this.#asked(connection.ping());
      }
    } catch {
      return wasUseful;
    }
  }

  /** Whether the server agreed; throws where it did not answer in time. */
  async #asked(answer: Promise<unknown>): Promise<boolean> {
    try {
      await within(this.#patience.command, answer, () => new Fault("timedOut"));
      return true;
    } catch (error) {
      if (this.#library.replyOf(error) === undefined) throw error;
      return false;
    }
  }

  /** Waits until there may be something to do, or so long; whether there may be. */
  async #idle(ms: number): Promise<boolean> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      return await new Promise<boolean>((resolve) => {
        this.#errand = () => resolve(true);
        timer = setTimeout(() => resolve(false), ms);
        unref(timer);
      });
    } finally {
      clearTimeout(timer);
      this.#errand = undefined;
    }
  }
}
