"""The page at ``/docs`` in a real Chromium, without scripts: it has none."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from playwright.sync_api import Page, expect

from browser.gestures import switch_language, words
from sightbox.web.pages import load_catalogue
from sightbox.web.reference import TEXTS

pytestmark = pytest.mark.browser

OUTLINE = """() => [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")]
  .map((heading) => Number(heading.tagName[1]))"""

OVERFLOWING = """() => [...document.querySelectorAll("pre, .wide")]
  .filter((box) => box.scrollWidth > box.clientWidth && box.tabIndex !== 0).length"""

UNNAMED = """() => [...document.querySelectorAll("nav, section, article, [role=region]")]
  .filter((part) => {
    const label = document.getElementById(part.getAttribute("aria-labelledby"));
    return !(part.getAttribute("aria-label") ?? label?.textContent ?? "").trim();
  }).length"""


@pytest.fixture
def open_reference(open_page: Callable[..., Page], server_url: str) -> Callable[..., Page]:
    """A function that opens the page in a language, without scripts, and waits for its styles."""

    def open_in(language: str, **options: object) -> Page:
        page = open_page(f"{server_url}/docs?lang={language}", java_script_enabled=False, **options)
        page.wait_for_load_state()
        return page

    return open_in


def test_headings_go_down_by_one_and_each_part_has_a_name(
    open_reference: Callable[..., Page],
) -> None:
    for language in ("en", "zh"):
        page = open_reference(language)
        levels = page.evaluate(OUTLINE)
        assert levels.count(1) == 1
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        assert page.evaluate(UNNAMED) == 0
        for landmark in ("banner", "main", "contentinfo"):
            expect(page.get_by_role(landmark)).to_have_count(1)
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
        assert len(ids) == len(set(ids))
        for target in page.locator("a[href^='#']").evaluate_all(
            "links => links.map((link) => link.getAttribute('href').slice(1))"
        ):
            assert target in ids


def test_keyboard_reaches_the_content_and_what_scrolls(
    open_reference: Callable[..., Page],
) -> None:
    reference = open_reference("en")
    reference.keyboard.press("Tab")
    skip = reference.get_by_role("link", name=load_catalogue("en", TEXTS)["skip"])
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    reference.keyboard.press("Enter")
    assert reference.url.endswith("#content")
    reference.keyboard.press("Tab")
    expect(reference.locator("main a").first).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_page_fits_a_phone_and_what_is_wider_scrolls_by_keyboard(
    open_reference: Callable[..., Page], language: str, scheme: str
) -> None:
    page = open_reference(language, viewport={"width": 320, "height": 640}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert page.evaluate(OVERFLOWING) == 0
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert ground == {"light": "rgb(242, 244, 243)", "dark": "rgb(16, 19, 18)"}[scheme]


def test_languages_and_pages_lead_to_each_other(page: Page, server_url: str) -> None:
    switch_language(page, "zh")
    page.get_by_role("link", name=words("foot.api", "zh")).click()
    expect(page).to_have_url(f"{server_url}/docs?lang=zh")
    expect(page.locator("h1")).to_have_text(load_catalogue("zh", TEXTS)["heading"])
    page.get_by_role("link", name="EN", exact=True).click()
    expect(page.locator("h1")).to_have_text(load_catalogue("en", TEXTS)["heading"])
    page.get_by_role("contentinfo").get_by_role("link").click()
    expect(page.locator(".headline")).to_have_text(words("hero.title"))
