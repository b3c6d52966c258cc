/** A Redis of a test's own, at a socket in a folder that goes with it. */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./until.mjs";

/** Starts one, until the test is over; gives its socket. */
export async function ownRedis(t) {
  const folder = mkdtempSync(join(tmpdir(), "donjon-redis-"));
  const socket = join(folder, "redis.sock");
  const server = spawn(process.env.REDIS_SERVER ?? "redis-server", ["--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder], { stdio: "ignore" });
  const ended = new Promise((resolve) => server.once("exit", resolve).once("error", resolve));
  t.after(async () => {
    server.kill("SIGKILL");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  });
  await until(() => existsSync(socket), "a Redis: is redis-server installed?");
  return socket;
}
