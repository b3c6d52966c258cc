"""Holds a wheel to what is said of it: `python tools/check_wheel.py target/wheels/donjon-….whl`.

It has a manylinux tag, as far as this is Linux, and is under 8 MB; it installs into an empty environment from which no cargo can be
found, and works there. How long importing takes is printed, in time of the CPU, as other
work on the machine is no fault of the wheel.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

LARGEST = 8 * 10**6
IMPORTS = 7

TRY = """
import asyncio, shutil, sys
assert shutil.which("cargo") is None
from donjon import Cache
for module in ("fastapi", "pydantic", "sqlalchemy", "prometheus_client", "opentelemetry"):
    assert module not in sys.modules, module
async def main():
    async with Cache.memory() as cache:
        await cache.set("k", {"a": [1, None]}, ttl="5m")
        assert await cache.get("k") == {"a": [1, None]}
asyncio.run(main())
"""
TIME = "from time import process_time as now; begun = now(); import donjon; print((now() - begun) * 1e3)"


def check(wheel: Path) -> None:
    """Ends the process where something does not hold."""
    tag = wheel.stem.split("-")[-1]
    if platform.system() == "Linux" and not tag.startswith(("manylinux", "musllinux")):
        sys.exit(f"{wheel.name} has no manylinux tag: it links to what only this machine may have")
    if wheel.stat().st_size >= LARGEST:
        sys.exit(f"{wheel.name} has {wheel.stat().st_size} bytes, which is too many")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = str(Path(folder) / ("Scripts" if os.name == "nt" else "bin") / "python")
        environment = {**os.environ, "PATH": path_without_cargo()}
        install = [python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", str(wheel)]
        subprocess.run(install, check=True, env=environment)
        subprocess.run([python, "-c", TRY], check=True, env=environment)
        times = [
            float(subprocess.run([python, "-c", TIME], check=True, env=environment, capture_output=True).stdout)
            for _ in range(IMPORTS)
        ]
    size = wheel.stat().st_size / 1e6
    print(f"{tag}, {size:.1f} MB, imported in {median(times):.0f} ms of CPU (least {min(times):.0f})")


def path_without_cargo() -> str:
    """The search path, without the folders that have one."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if shutil.which("cargo", path=folder) is None)


if __name__ == "__main__":
    check(Path(sys.argv[1]))
