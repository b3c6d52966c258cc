"""The README and docs/ say what is so.

Every Python snippet is run, page by page, as a reader would who types them in one after another. Every test and every file
that a page names is there.
"""

import ast
import asyncio
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).resolve().parents[2]
PAGES = [TOP / "README.md", TOP / "CONTRIBUTING.md", *sorted((TOP / "docs").glob("*.md"))]
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A test in JavaScript is named by a sentence, in Python and Rust by the name of its function.
TEST = re.compile(r"`([\w./-]+\.(?:py|rs|mjs|js))::([^`\n]+)`")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def snippets(page: Path) -> list[str]:
    """The snippets of a page, each moved down to its own line, so that a traceback names the line of the page."""
    text = page.read_text(encoding="utf-8")
    return ["\n" * text.count("\n", 0, found.start(1)) + found[1] for found in SNIPPET.finditer(text)]


async def run(page: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for source in snippets(page):
        code = compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, names)
        if inspect.iscoroutine(result):
            await result


@pytest.mark.parametrize("page", [page for page in PAGES if snippets(page)], ids=lambda page: page.name)
def test_every_snippet_of_a_page_runs(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHE_BACKEND", "memory")
    monkeypatch.setattr("donjon._process._cache", None)  # a reader of this page has read no other
    asyncio.run(run(page))


def test_a_wrong_snippet_is_told_by_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n```python\nvalue = 1\n```\n\n```python\nassert value == 1\nassert value == 2\n```\n")
    with pytest.raises(AssertionError) as wrong:
        asyncio.run(run(page))
    assert (wrong.traceback[-1].path, wrong.traceback[-1].lineno + 1) == (page, 9)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in LINK.findall(text):
        assert (page.parent / link).exists(), link
    for file, name in TEST.findall(text):
        is_script = file.endswith("js")
        start = (
            rf"\btest\({re.escape(json.dumps(name, ensure_ascii=False))}," if is_script else rf"\b(?:def|fn) {name}\("
        )
        assert re.search(start, (TOP / file).read_text(encoding="utf-8")), f"{file}::{name}"
