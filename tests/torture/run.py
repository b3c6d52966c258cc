"""Runs the scenarios against the libraries of Python that are here, and prints what came of it as JSON.

Names of libraries on the command line are those to run; without any all are.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import traceback
import uuid
import warnings
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "redis" / "python")]

from libraries import LIBRARIES  # noqa: E402
from library import Fails, Library, NoSuchThing, World  # noqa: E402
from redis_server import RedisServer  # noqa: E402
from scenarios import SCENARIOS  # noqa: E402

LIMIT = 60.0  # seconds


async def verdict(number: int, library: type[Library], backend: str, server: RedisServer) -> tuple[str, str]:
    """`holds`, `fails` or `none`, and a word on it."""
    shared = backend in library.shared
    world = World(library, backend, server if shared else None, f"t{number}-{uuid.uuid4().hex[:8]}")
    try:
        noted = await asyncio.wait_for(SCENARIOS[number](world), LIMIT)
    except NoSuchThing as error:
        return "none", str(error)
    except Fails as error:
        return "fails", str(error)
    except Exception as error:  # what a peer raises in the midst is for whoever reads this to judge
        traceback.print_exc()
        return "error", repr(error)
    finally:
        await world.close()
    return "holds", noted or ""


async def main(names: list[str]) -> None:
    """One server for each library and backend, so that none sees what another left."""
    found = []
    for library in LIBRARIES:
        if names and library.name not in names:
            continue
        verdicts: dict[str, dict[int, tuple[str, str]]] = {}
        for backend in library.backends:
            with RedisServer() as server:
                verdicts[backend] = {}
                for number in SCENARIOS:
                    server.ask("FLUSHALL")
                    verdicts[backend][number] = await verdict(number, library, backend, server)
                    print(library.name, backend, f"T{number}", *verdicts[backend][number], file=sys.stderr)
        found.append(
            {"name": library.name, "version": library.version(), "backends": library.backends, "verdicts": verdicts}
        )
    print(json.dumps(found))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    asyncio.run(main(sys.argv[1:]))
