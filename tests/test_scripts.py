"""What checks the page's scripts: exact tools, and rules that find a breach."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STATIC = ROOT / "src" / "sightbox" / "web" / "static"
TOOLS = ROOT / "node_modules" / ".bin"
PACKAGE = json.loads((ROOT / "package.json").read_text())

needs_tools = pytest.mark.skipif(
    not (TOOLS / "tsc").exists() or not shutil.which("node"), reason="make scripts was left out"
)


def test_tools_are_pinned_and_come_from_where_the_machine_says() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text())
    assert PACKAGE["private"]
    for name, version in PACKAGE["devDependencies"].items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), name
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
    for name, part in lock["packages"].items():
        assert "resolved" not in part, name
        assert not name or part["integrity"].startswith("sha512-"), name


def test_make_asks_for_scripts_that_exist() -> None:
    asked = re.findall(r"npm run --silent (\w+)", (ROOT / "Makefile").read_text())
    assert asked == list(PACKAGE["scripts"])


def test_without_node_the_check_is_left_out_in_one_line(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("make", "sh"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    done = subprocess.run(
        ["make", "scripts"],
        cwd=tmp_path,
        # Without what the `make` that runs this test says to those that it starts.
        env={"PATH": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert re.fullmatch(r"make scripts: .* were not checked\.\n", done.stdout)


@needs_tools
def test_each_breach_of_a_rule_is_found() -> None:
    breaches = {
        'document.body.innerHTML = "<p>";': "no-restricted-properties",
        'document.body.insertAdjacentHTML("beforeend", "<p>");': "no-restricted-properties",
        'eval("1");': "no-eval",
        "if (document.title == 1) close();": "eqeqeq",
    }
    command: list[str | Path] = [
        TOOLS / "eslint",
        "--stdin",
        "--stdin-filename",
        STATIC / "js" / "new.js",
    ]
    lines = "\n".join(breaches)
    done = subprocess.run(
        command, cwd=ROOT, input=lines, check=False, capture_output=True, text=True
    )
    found = re.findall(r"^ +(\d+):\d+ +error .* ([\w-]+)$", done.stdout, re.MULTILINE)
    assert found == [(str(place), rule) for place, rule in enumerate(breaches.values(), 1)]


@needs_tools
def test_each_breach_of_a_type_is_found(tmp_path: Path) -> None:
    breaches = {
        "export const twice = (number) => 2 * number;": "TS7006",
        "/** @param {number[]} all */ export const first = (all) => all[0].toFixed();": "TS2532",
        'document.getElementById("x").hidden = true;': "TS2531",
    }
    options = json.loads((ROOT / "tsconfig.json").read_text())["compilerOptions"]
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": options}))
    (tmp_path / "new.js").write_text("\n".join(breaches))
    done = subprocess.run(
        [TOOLS / "tsc", "--project", tmp_path], check=False, capture_output=True, text=True
    )
    found = re.findall(r"\((\d+),\d+\): error (TS\d+)", done.stdout)
    assert found == [(str(place), code) for place, code in enumerate(breaches.values(), 1)]
