using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "rates", worker = (
      modules = [
        (name = "worker.js", esModule = embed "built/worker.js"),
        (name = "core.wasm", wasm = embed "built/core.wasm"),
      ],
      compatibilityDate = "2026-01-01",
      bindings = [(name = "ORIGIN", fromEnvironment = "ORIGIN")],
    )),
    # The origin is on this machine, which is no public network.
    (name = "internet", network = (allow = ["public", "private", "local"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:8080", http = (), service = "rates")],
);
