// A redis-server on a free port of the loopback, without persistence.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";

/** Starts one; it ends by what that gives. */
export async function startServer() {
  const program = ["redis-server", "valkey-server"].find((name) => spawnSync(name, ["--version"]).error === undefined);
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  const running = spawn(program, ["--bind", "127.0.0.1", "--port", `${port}`, "--save", "", "--appendonly", "no"], { stdio: "ignore" });
  return { port, end: () => running.kill() };
}
