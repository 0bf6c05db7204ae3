"""The page for everybody: axe's rules in both themes and languages, over all its views."""

from collections.abc import Callable
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Page, expect

from browser.gestures import CHELSEA, COFFEE, ROCKET, cards, fire, read

pytestmark = pytest.mark.browser

AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
CHECK = """async (rules) => {
  const { violations } = await axe.run(document, { runOnly: rules });
  return violations.map(({ id, nodes }) =>
    `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join(" | ")}`);
}"""


def violations(page: Page) -> list[str]:
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text("utf-8"))
    found: list[str] = page.evaluate(CHECK, RULES)
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [1280, 320])
def test_no_view_breaks_a_rule(
    open_page: Callable[..., Page], server_url: str, scheme: str, language: str, width: int
) -> None:
    viewport = {"width": width, "height": 800}
    page = open_page(f"{server_url}/?lang={language}", color_scheme=scheme, viewport=viewport)
    assert violations(page) == []
    page.locator("#settings summary").click()
    expect(page.locator("#set-model option")).not_to_have_count(1)
    assert violations(page) == []
    fire(page, "drop", [*read(CHELSEA, COFFEE), ("broken.jpg", ROCKET.read_bytes()[:3000])])
    expect(cards(page, "done")).to_have_count(2)
    expect(cards(page, "failed")).to_have_count(1)
    card = cards(page, "done").first
    card.locator(".why").click()
    card.locator(".more summary").click()
    card.locator(".timing summary").click()
    expect(card.locator(".heat")).to_be_visible()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    card.locator(".as-code").click()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.locator("#camera-open").click()
    expect(page.locator("#camera-problem")).not_to_be_empty()
    assert violations(page) == []


def test_rules_find_a_fault(page: Page) -> None:
    page.locator("#set-top-k").evaluate("field => field.labels[0].remove()")
    page.locator("#settings summary").click()
    assert [fault.split(":")[0] for fault in violations(page)] == ["label"]


def test_answer_without_javascript_breaks_no_rule(page: Page, server_url: str) -> None:
    page.evaluate(
        "document.body.append(new DOMParser().parseFromString("
        "document.querySelector('noscript').textContent, 'text/html').querySelector('form'))"
    )
    page.locator("form[method=post] input").set_input_files(CHELSEA)
    page.locator("form[method=post] button").click()
    expect(page.locator(".plain-answer li").first).to_contain_text("tiger cat")
    assert violations(page) == []
