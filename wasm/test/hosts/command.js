// Runs the suite in a host that is started by a command, and prints what became of each case.

import process from "node:process";
import { runAll } from "../suite/index.js";
import { vectors } from "./hosts.js";

process.stdout.write(JSON.stringify(await runAll(await vectors())));
