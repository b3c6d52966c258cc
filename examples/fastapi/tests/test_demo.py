"""`python demo.py`: ready, and answering, or a reason why not."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from server import HERE, free_port

DEMO = [sys.executable, str(HERE.parent / "demo.py")]
TEXT = "A keep is the strongest tower of a castle, and the last to fall. " * 8


def test_the_demo_answers_within_a_second_of_its_ready_line_and_prints_what_to_try(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for number in range(20):
        (docs / f"{number}.md").write_text(f"{TEXT}\n\nnumber {number}")
    command = [*DEMO, "--docs", str(docs), "--port", str(free_port())]
    with (
        httpx.Client(timeout=10) as client,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "APP_DATABASE": f"{tmp_path}/app.db"},
        ) as demo,
    ):
        assert demo.stdout is not None
        try:
            said = ""
            while "Ready:" not in said:
                line = demo.stdout.readline()
                assert line, f"ended before it was ready:\n{said}"
                said += line
            begun = time.monotonic()
            url = re.search(r"Ready: (http://\S+)/", said)
            assert url is not None
            assert client.get(url[1]).status_code == 200
            assert client.get(f"{url[1]}/api/v1/stats").status_code == 200
            assert time.monotonic() - begun < 1.0

            while "curl" not in said:
                said += demo.stdout.readline()
            assert "✓ Cache initialized (memory backend)" in said
            curl = re.search(r'curl -H "Authorization: (.+)" "(\S+)"', said)
            assert curl is not None
            answer = client.get(curl[2], headers={"Authorization": curl[1]})
            assert (answer.status_code, answer.json()["status"]) == (200, "ok")

            end = time.monotonic() + 60
            while (files := client.get(f"{url[1]}/api/v1/stats").json()["files"])["indexed"] < 20:
                assert time.monotonic() < end, files
                time.sleep(0.05)
        finally:
            demo.send_signal(signal.SIGINT)
            assert demo.wait(30) in (0, -signal.SIGINT)


def test_a_port_that_is_taken_is_said_plainly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        demo = subprocess.run([*DEMO, "--port", str(port)], capture_output=True, text=True, timeout=60, check=False)
    assert demo.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in demo.stderr
    assert "--port" in demo.stderr
    assert "Traceback" not in demo.stderr


def test_a_folder_that_is_none_is_said_plainly() -> None:
    demo = subprocess.run([*DEMO, "--docs", "nowhere"], capture_output=True, text=True, timeout=60, check=False)
    assert demo.returncode == 2
    assert "nowhere is not a folder" in demo.stderr
