/**
 * A REST server in front of a Redis, in a process of its own, so that what it takes is not what the worker takes. Says its address, and
 * runs until its standard input ends, as it does when the worker dies.
 *
 *     node rest.mjs URL
 */
import { RestServer } from "../../../wasm/test/upstash/rest-server.mjs";

process.stdin.on("end", () => process.exit()).resume();
const [url] = process.argv.slice(2);
process.stdout.write(`${(await RestServer.start({ url })).url}\n`);
