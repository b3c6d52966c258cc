// Runs the suite in a page, and leaves there what becomes of each case.

import { runAll } from "../../suite/index.js";

globalThis.suite = fetch("/vectors.json")
  .then((answer) => answer.json())
  .then(runAll);
