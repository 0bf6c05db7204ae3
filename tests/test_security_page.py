"""SECURITY.md: each promise has a test behind it that exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "SECURITY.md").read_text("utf-8").splitlines()
HEADING = "| promised | not promised | the test behind it |"


def _promises() -> list[tuple[str, list[str]]]:
    """Returns each promise of the tables, and the tests that it names."""
    found = []
    starts = [number for number, line in enumerate(LINES) if line == HEADING]
    for start in starts:
        for line in LINES[start + 2 :]:
            if not line.startswith("|"):
                break
            promised, _, tests = (cell.strip() for cell in line.strip("|").split("|"))
            found.append((promised, re.findall(r"`([^`]+)`", tests)))
    return found


def test_page_makes_promises() -> None:
    assert len(_promises()) > 20


@pytest.mark.parametrize(("promised", "tests"), _promises())
def test_each_promise_has_tests_that_exist(promised: str, tests: list[str]) -> None:
    assert tests, promised
    for named in tests:
        path, _, function = named.partition("::")
        tree = ast.parse((ROOT / path).read_text("utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert function in functions, f"{promised}: there is no {named}"
