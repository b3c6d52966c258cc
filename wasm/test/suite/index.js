/** The suite: what the package does, the same in every host. */
import "./reads.js";
import "./loads.js";
import "./flights.js";
import "./invalidation.js";

export { cases, run, runAll } from "./case.js";
