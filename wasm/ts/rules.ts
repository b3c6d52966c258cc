/**
 * Rules: which event invalidates what. They are read and carried out by the core, so that every language shares them.
 */
import { InvalidRuleError } from "./errors.js";
import { nameOf } from "./keys.js";
import { checkNames } from "./options.js";

/** What an event invalidates. Names in braces are filled in by what the event is about: `document:{id}`. */
export interface RuleTargets {
  readonly keys?: readonly string[] | undefined;
  readonly patterns?: readonly string[] | undefined;
  readonly tags?: readonly string[] | undefined;
}

type Add = (event: string, keys: readonly string[], patterns: readonly string[], tags: readonly string[]) => void;

/** The rules of one cache. */
export class Rules {
  /** As it is shown: what is packed has short names. */
  static readonly name = "Rules";
  readonly #add: Add;

  /** @internal */
  constructor(add: Add) {
    this.#add = add;
  }

  /**
   * Adds a rule. The event may be a pattern: `job.*`.
   *
   * @throws {@link InvalidRuleError} where a target cannot be read.
   */
  on(event: string, targets: RuleTargets = {}): this {
    checkNames(targets, ["keys", "patterns", "tags"]);
    const { keys = [], patterns = [], tags = [] } = targets;
    for (const [name, list] of Object.entries({ keys, patterns, tags })) {
      if (!Array.isArray(list)) throw new InvalidRuleError(`\`${name}\` of a rule are a list of texts, not ${nameOf(list)}`);
    }
    for (const text of [event, ...keys, ...patterns, ...tags]) {
      if (typeof text !== "string") throw new InvalidRuleError(`events and what they invalidate are texts, not ${nameOf(text)}`);
      if (!text.isWellFormed()) throw new InvalidRuleError("half a surrogate pair is no text");
    }
    this.#add(event, [...keys], [...patterns], [...tags]);
    return this;
  }
}
