/** The suite: what the package does, the same in every host. */
import "./reads.js";
import "./loads.js";
import "./flights.js";
import "./invalidation.js";
import "./time.js";
import "./values.js";
import "./many.js";
import "./lookup.js";
import "./wrap.js";
import "./warm.js";
import "./locks.js";
import "./messages.js";
import "./counters.js";
import "./lifetime.js";
import "./bad-input.js";
import "./vectors.js";

export { cases, run, runAll } from "./case.js";
