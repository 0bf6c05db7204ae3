"""The same question as code: what the page writes is run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from browser.gestures import CHELSEA, cards, choose, switch_language, words

pytestmark = pytest.mark.browser

NAME = "-it's a cat.png"
NEEDS = {"curl": "curl", "JavaScript": "node"}


@pytest.fixture
def snippets(open_page: Callable[..., Page], server_url: str, tmp_path: Path) -> dict[str, str]:
    """What the dialog shows for a picture with an awkward name, by language."""
    shutil.copy(CHELSEA, tmp_path / NAME)
    page = open_page(f"{server_url}/?top_k=2&min_score=0.1&preprocessing=fast")
    choose(page, tmp_path / NAME)
    cards(page, "done").locator(".more summary").click()
    page.locator(".as-code").click()
    dialog = page.get_by_role("dialog", name=words("code.title"))
    found = {}
    for name in ("Shell", "curl", "Python", "JavaScript"):
        dialog.get_by_role("radio", name=name, exact=True).check()
        found[name] = dialog.locator("code").inner_text()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator(".as-code")).to_be_focused()
    return found


def run(command: list[str], folder: Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"PATH": path, "PYTHONIOENCODING": "utf-8"}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_commands_and_programs_work_as_written(snippets: dict[str, str], tmp_path: Path) -> None:
    commands = {
        "Shell": ["sh", "-c", snippets["Shell"] + " --json"],
        "curl": ["sh", "-c", snippets["curl"] + " --silent --show-error"],
        "Python": [sys.executable, "-c", snippets["Python"]],
        "JavaScript": ["node", "--input-type=module", "--eval", snippets["JavaScript"]],
    }
    for language, command in commands.items():
        if shutil.which(NEEDS.get(language, "sh")):
            told = run(command, tmp_path)
            assert "tiger cat" in told, language
            assert "lynx" not in told, language
    assert "--top-k 2 --min-score 0.1 --preprocessing fast" in snippets["Shell"]
    assert 'preprocessing="fast"' in snippets["Python"]


def test_code_is_copied_and_never_holds_the_token(
    open_page: Callable[..., Page], server_url: str
) -> None:
    token = "a-secret-of-24-characters"  # noqa: S105 - it guards nothing
    permissions = ["clipboard-read", "clipboard-write"]
    page = open_page(f"{server_url}/#token={token}", permissions=permissions)
    choose(page, CHELSEA)
    cards(page, "done").locator(".more summary").click()
    page.locator(".as-code").click()
    dialog = page.locator("dialog")
    dialog.get_by_role("radio", name="curl").check()
    dialog.get_by_role("button", name=words("code.copy"), exact=True).click()
    expect(dialog.locator(".copied")).to_contain_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == dialog.locator("code").inner_text()
    assert "$SIGHTBOX_TOKEN" in copied
    assert token not in copied
    dialog.get_by_role("button", name=words("code.close")).click()
    switch_language(page, "zh")
    expect(page.locator(".as-code")).to_have_text(words("code.title", "zh"))
    assert token not in page.content()
