"""Runs the history test: processes on one real Redis, a nemesis among them, and the checker over what they wrote down.

python tests/history/run.py                        a minute of donjon, in Python, Rust and Node
python tests/history/run.py --seconds 600          longer
python tests/history/run.py --cluster              over a cluster, in Python and Rust, while slots move and replicas take over
python tests/history/run.py --cluster --braces     the same in a namespace that has all of its keys in one slot
python tests/history/run.py --sentinels            over a primary that is killed again and again, and found by sentinels
python tests/history/run.py --naive --seconds 12   cache-aside by hand, which must be found out
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Protocol

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path[:0] = [str(HERE), str(HERE.parent / "redis/python")]

from check import Report, check  # noqa: E402
from fleet import Fleet, Program  # noqa: E402
from history import History  # noqa: E402
from nemesis import Nemesis  # noqa: E402
from outside import Outside  # noqa: E402
from plan import Plan  # noqa: E402
from redis_cluster import RedisCluster, RedisSentinels  # noqa: E402
from redis_server import RedisServer  # noqa: E402
from unrest import OfACluster, OfSentinels  # noqa: E402

__all__ = [
    "LANGUAGES",
    "MANY_LANGUAGES",
    "NAIVE",
    "begin",
    "donjon",
    "harm",
    "in_rust",
    "on_many",
    "run",
    "run_behind_sentinels",
    "run_on_a_cluster",
]

LANGUAGES = ("python", "rust", "node")
MANY_LANGUAGES = ("python", "rust")
"""Those that know clusters and sentinels."""


def python(adapter: str, name: str = "python") -> Program:
    """The worker in Python, on one of the adapters."""
    return Program(
        name, lambda plan, log, seed: [sys.executable, str(HERE / "worker.py"), str(plan), str(log), seed, adapter]
    )


def node(store: str, name: str = "node") -> Program:
    """The worker in Node, over one of its stores."""
    worker = HERE / "node/worker.mjs"
    return Program(name, lambda plan, log, seed: ["node", str(worker), str(plan), str(log), seed, store])


def in_rust(program: str) -> Path:
    """A program of the crate beside this file, built now unless it is up to date."""
    build = ["cargo", "build", "--quiet", "--profile", "test", "--package", "donjon-history"]
    subprocess.run(build, cwd=TOP, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", TOP / "target")) / "debug" / program


NAIVE = [python("naive")] * 8


def donjon() -> list[Program]:
    """Processes on donjon, in all languages; the npm package was built before."""
    worker = in_rust("history-worker")
    rust = Program("rust", lambda plan, log, seed: [str(worker), str(plan), str(log), seed])
    near = Program("rust-near", lambda plan, log, seed: [str(worker), str(plan), str(log), seed, "near"])
    pythons = [
        *[python("donjon")] * 2,
        python("donjon-faces", "python-faces"),
        *[python("donjon-near", "python-near")] * 2,
    ]
    nodes = [node("redis")] * 2 + [
        node("near", "node-near"),
        node("near-ioredis", "node-near-ioredis"),
        node("rest", "node-rest"),
        node("timed-rest", "node-rest-timed"),
    ]
    return [*pythons, rust, *[near] * 2, *nodes]


def on_many() -> list[Program]:
    """Processes on donjon in the languages that know more than one server, some with memory in front."""
    return [program for program in donjon() if not program.name.startswith("node")]


def begin(what: str, programs: Sequence[Program], seconds: float, seed: int, folder: Path) -> Path:
    """Says what is run, and makes the folder of its logs."""
    print(f"{what}: seed {seed}, {len(programs)} processes for {seconds:.0f} s; written to {folder}", flush=True)
    logs = folder / "logs"
    logs.mkdir(parents=True)
    return logs


def run(
    programs: Sequence[Program], seconds: float, seed: int, folder: Path, languages: Sequence[str] = LANGUAGES
) -> Report:
    """Runs programs for some seconds and checks what they wrote into a folder.

    Raises:
        RuntimeError: A process failed by itself.
    """
    logs = begin("history", programs, seconds, seed, folder)
    with RedisServer() as server:
        plan = Plan.of(server.url, folder / "source", seed)
        plan.save(folder / "plan.json")
        fleet = Fleet(programs, folder / "plan.json", logs, seed)
        nemesis = Nemesis(server, fleet, seed)
        harm(seconds, fleet, [nemesis, Outside(server.port, plan, logs)])
    return _judge(logs, languages, nemesis.done)


def run_on_a_cluster(
    programs: Sequence[Program],
    seconds: float,
    seed: int,
    folder: Path,
    languages: Sequence[str] = MANY_LANGUAGES,
    namespace: str = "history",
) -> Report:
    """As `run`, on three primaries with a replica each, whose slots move; with all keys in one of these, if the namespace is in braces.

    Raises:
        RuntimeError: A process failed by itself.
    """
    logs = begin("history", programs, seconds, seed, folder)
    # Nobody takes over by himself from one that is only frozen; by order, from the same one after twice this time again.
    with RedisCluster(replicas=1, options={"cluster-node-timeout": "5000"}) as cluster:
        plan = Plan.of(cluster.url, folder / "source", seed, namespace)
        plan.save(folder / "plan.json")
        fleet = Fleet(programs, folder / "plan.json", logs, seed)
        unrest = OfACluster(cluster, [f"{plan.namespace}:{key}" for key in plan.keys], fleet, seed)
        harm(seconds, fleet, [unrest])
    return _judge(logs, languages, unrest.done)


def run_behind_sentinels(
    programs: Sequence[Program], seconds: float, seed: int, folder: Path, languages: Sequence[str] = MANY_LANGUAGES
) -> Report:
    """As `run`, on a primary with two replicas that three sentinels watch, and which is killed now and then.

    Raises:
        RuntimeError: A process failed by itself.
    """
    logs = begin("history", programs, seconds, seed, folder)
    # Nobody takes over by himself from one that is only frozen.
    with RedisSentinels(after=10.0) as watched:
        plan = Plan.of(watched.url, folder / "source", seed)
        plan.save(folder / "plan.json")
        fleet = Fleet(programs, folder / "plan.json", logs, seed)
        unrest = OfSentinels(watched, fleet, seed)
        harm(seconds, fleet, [unrest])
    return _judge(logs, languages, unrest.done)


class Meddler(Protocol):
    """Does something of its own during a run."""

    def run(self, over: threading.Event) -> None:
        """Goes on until the run is over."""


def harm(seconds: float, fleet: Fleet, meddlers: Sequence[Meddler]) -> None:
    """Lets processes work for some seconds and others meddle meanwhile; then all come to their end.

    Raises:
        RuntimeError: A process failed by itself.
    """
    over = threading.Event()
    with ThreadPoolExecutor() as threads:
        at_work = [threads.submit(each.run, over) for each in meddlers]
        try:
            _wait(seconds, lambda: bool(fleet.failures()) or any(each.done() for each in at_work))
        finally:
            over.set()
            wait(at_work)
            bad = fleet.end()
        for each in at_work:
            each.result()
    if bad:
        raise RuntimeError("\n".join(bad))


def _judge(logs: Path, languages: Sequence[str], done: Mapping[str, int]) -> Report:
    report = check(History(logs), languages)
    report.deeds.update(done)
    did = ", ".join(f"{times} {deed}" for deed, times in sorted(done.items()))
    print(f"the nemesis did: {did}\n{report}", flush=True)
    return report


def _wait(seconds: float, broken: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not broken():
        time.sleep(0.2)


def main() -> int:
    """Runs what the command line says; 1 where the promise does not hold or too little was tried."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--naive", action="store_true", help="cache-aside by hand instead of donjon")
    parser.add_argument(
        "--cluster", action="store_true", help="on a cluster, whose slots move and whose replicas take over"
    )
    parser.add_argument("--braces", action="store_true", help="with all keys in one slot of the cluster")
    parser.add_argument(
        "--sentinels", action="store_true", help="on a primary that is killed, and found by three sentinels"
    )
    parser.add_argument("--keep", type=Path, help="a folder, not there yet, for what the processes write")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="donjon-history-") as scratch:
        folder = said.keep or Path(scratch) / "run"
        if said.cluster:
            namespace = "{history}" if said.braces else "history"
            report = run_on_a_cluster(on_many(), said.seconds, said.seed, folder, namespace=namespace)
        elif said.sentinels:
            report = run_behind_sentinels(on_many(), said.seconds, said.seed, folder)
        else:
            programs, languages = (NAIVE, ()) if said.naive else (donjon(), LANGUAGES)
            report = run(programs, said.seconds, said.seed, folder, languages)
    for shortfall in report.shortfalls:
        print(f"tried too little: {shortfall}")
    return bool(report.stale_reads or report.faults or report.shortfalls)


if __name__ == "__main__":
    sys.exit(main())
