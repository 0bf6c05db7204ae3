"""The page of a box that wants a token."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from browser.gate import GatedClassifier
from browser.gestures import CHELSEA, COFFEE, ROCKET, cards, choose, switch_language, words
from serving import serving

pytestmark = pytest.mark.browser

TOKEN = "a-secret-of-24-characters"  # noqa: S105 - it guards nothing

# Before any script of the page: each touch of a store is an error, as in a strict browser.
FORBID_STORAGE = """for (const name of ["localStorage", "sessionStorage"]) {
  Object.defineProperty(window, name, { get() { throw new Error("no"); } });
}"""


@pytest.fixture(scope="module")
def locked_url(gated_classifier: GatedClassifier, home: Path) -> Iterator[str]:
    """The address of a server that wants a token."""
    with serving(gated_classifier, home=home, token=TOKEN) as url:
        yield url


def reload(page: Page) -> None:
    page.reload(wait_until="commit")
    page.wait_for_selector("html[data-ready]", state="attached")


def test_token_in_the_address_unlocks_and_is_hidden(
    open_page: Callable[..., Page], locked_url: str
) -> None:
    page = open_page(f"{locked_url}/?lang=en#token={TOKEN}")
    assert page.url == f"{locked_url}/?lang=en"
    for _ in range(2):
        choose(page, CHELSEA)
        expect(cards(page, "done")).to_have_count(1)
        expect(page.locator("#unlock")).to_be_hidden()
        reload(page)
    assert TOKEN not in page.content()


def test_token_is_asked_for_and_waiting_pictures_go_on(
    open_page: Callable[..., Page], locked_url: str
) -> None:
    page = open_page(locked_url, viewport={"width": 320, "height": 640})
    choose(page, CHELSEA, COFFEE, ROCKET, CHELSEA, COFFEE)
    expect(cards(page, "locked").locator(".status-text")).to_have_text([words("card.locked")] * 4)
    expect(cards(page, "waiting")).to_have_count(1)
    field = page.get_by_role("form", name=words("error.token_needed")).get_by_label("Token")
    expect(field).to_be_focused()
    expect(field).to_have_accessible_description(words("error.token_needed.hint"))
    expect(page.locator("#token-problem")).to_be_empty()
    for wrong in ("a-wrong-one-of-24-letters", "一个错误的令牌"):
        field.fill(wrong)
        page.keyboard.press("Enter")
        expect(page.locator("#token-problem")).to_have_text(words("token.refused"))
        expect(page.locator("#announcer p").last).to_have_text(words("token.refused"))
        expect(field).to_be_focused()
        expect(field).to_have_attribute("aria-invalid", "true")
        switch_language(page, "zh")
        expect(page.locator("#token-problem")).to_have_text(words("token.refused", "zh"))
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        switch_language(page, "en")
        expect(page.locator("#token-problem")).to_have_text(words("token.refused"))
    field.fill(f" {TOKEN} ")
    page.get_by_role("button", name=words("token.send")).click()
    expect(cards(page, "done")).to_have_count(5)
    expect(page.locator("#unlock")).to_be_hidden()
    expect(page.locator("#drop")).to_be_focused()
    reload(page)
    choose(page, CHELSEA)
    expect(cards(page, "done")).to_have_count(1)


def test_wrong_token_in_the_address_is_told_and_a_new_address_mends_it_without_storage(
    open_page: Callable[..., Page], locked_url: str
) -> None:
    page = open_page(f"{locked_url}/#token=a-wrong-one%", first=FORBID_STORAGE)
    switch_language(page, "zh")
    expect(page.locator(".headline")).to_have_text(words("hero.title", "zh"))
    choose(page, CHELSEA)
    expect(page.locator("#token-problem")).to_have_text(words("token.refused", "zh"))
    page.goto(f"{locked_url}/?lang=zh#token=%61{TOKEN[1:]}")
    expect(cards(page, "done")).to_have_count(1)
    expect(page.locator("#unlock")).to_be_hidden()
    assert page.url == f"{locked_url}/?lang=zh"
