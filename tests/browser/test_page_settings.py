"""What a person may choose on the page, and how it stands in the address."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from browser.gestures import CHELSEA, cards, choose, collect_questions, switch_language, words
from serving import serving
from shelf import put_models
from sightbox.backends.dummy import DummyBackend
from sightbox.classifier import Classifier

pytestmark = pytest.mark.browser


@pytest.fixture
def shelf_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with small models for the dummy backend."""
    home = tmp_path_factory.mktemp("shelf")
    put_models(home)
    with (
        Classifier("first", backend=DummyBackend(), home=home) as classifier,
        serving(classifier, home=home, backend="dummy") as url,
    ):
        yield url


def asked(page: Page) -> dict[str, list[str]]:
    """Returns the settings in the address."""
    return parse_qs(urlsplit(page.url).query)


def open_settings(page: Page) -> None:
    page.locator("#settings summary").click()


def test_settings_change_the_question_and_stand_in_the_address(page: Page) -> None:
    questions = collect_questions(page)
    open_settings(page)
    page.get_by_label(words("set.top_k")).fill("3")
    page.get_by_label(words("set.min_score")).fill("30")
    page.get_by_label(words("set.preprocessing")).select_option("fast")
    page.get_by_label(words("set.explain")).check()
    expected = {"top_k": ["3"], "min_score": ["0.3"], "preprocessing": ["fast"]}
    assert asked(page) == expected | {"explain": ["true"]}
    choose(page, CHELSEA)
    expect(cards(page, "done").locator(".predictions li")).to_have_count(2)
    expect(cards(page).locator(".heat")).to_be_visible()
    sent = parse_qs(urlsplit(questions[0].url).query)
    # The page leaves out the unlikely ones itself: how sure it is needs the second class.
    assert sent == expected | {"min_score": ["0"], "explain": ["true"], "lang": ["both"]}
    page.get_by_label(words("set.explain")).uncheck()
    assert asked(page) == expected


def test_address_sets_the_page_and_what_is_no_choice_falls_back(
    open_page: Callable[..., Page], server_url: str
) -> None:
    page = open_page(f"{server_url}/?lang=zh&top_k=1&min_score=0.375&preprocessing=exact")
    open_settings(page)
    expect(page.get_by_label(words("set.top_k", "zh"))).to_have_value("1")
    expect(page.get_by_label(words("set.min_score", "zh"))).to_have_value("38")
    expect(page.get_by_label(words("set.preprocessing", "zh"))).to_have_value("exact")
    choose(page, CHELSEA)
    expect(cards(page, "done").locator(".predictions li")).to_have_count(1)
    expect(cards(page).locator(".verdict")).to_contain_text("不太确定")
    page = open_page(
        f"{server_url}/?top_k=2.5&min_score=1.1&preprocessing=magic&explain=perhaps"
        "&model=%3Cb%3E&variant=int8"
    )
    open_settings(page)
    expect(page.get_by_label(words("set.top_k"))).to_have_value("5")
    expect(page.get_by_label(words("set.min_score"))).to_have_value("0")
    expect(page.get_by_label(words("set.preprocessing"))).to_have_value("exact")
    expect(page.get_by_label(words("set.explain"))).not_to_be_checked()
    expect(page.get_by_label(words("set.model"), exact=True)).to_have_value("")


@pytest.mark.parametrize("typed", ["0", "99", ""])
def test_number_out_of_range_is_brought_back(page: Page, typed: str) -> None:
    open_settings(page)
    field = page.get_by_label(words("set.top_k"))
    field.fill(typed)
    field.press("Enter")
    field.blur()
    expect(field).to_have_value({"0": "1", "99": "20", "": "5"}[typed])


def test_model_that_is_not_loaded_yet_can_be_chosen_and_answers(
    open_page: Callable[..., Page], shelf_url: str
) -> None:
    page = open_page(shelf_url)
    open_settings(page)
    model = page.locator("#set-model")
    expect(model).to_have_accessible_name(words("set.model"))
    expect(model.locator("option")).to_have_text(
        [words("set.model_own"), "east · loads on first use", "first"]
        + [f"{name} · loads on first use" for name in ("north", "south", "west")]
    )
    choose(page, CHELSEA)
    expect(cards(page, "done").locator(".model")).to_have_text("first · fp32 · dummy")
    expect(page.locator("#again")).to_be_hidden()
    model.select_option("north")
    assert asked(page)["model"] == ["north"]
    page.locator("#again").click()
    expect(cards(page, "done").locator(".model")).to_have_text("north · fp32 · dummy")
    expect(page.locator("#again")).to_be_hidden()
    switch_language(page, "zh")
    expect(model.locator("option").first).to_have_text(words("set.model_own", "zh"))
    expect(model).to_have_value("north")


def test_model_of_the_address_is_used_and_one_that_is_gone_falls_back(
    open_page: Callable[..., Page], shelf_url: str
) -> None:
    page = open_page(f"{shelf_url}/?model=east")
    choose(page, CHELSEA)
    expect(cards(page, "done").locator(".model")).to_have_text("east · fp32 · dummy")
    page = open_page(f"{shelf_url}/?model=gone&variant=int8")
    page.wait_for_url(f"{shelf_url}/")
    choose(page, CHELSEA)
    expect(cards(page, "done").locator(".model")).to_have_text("first · fp32 · dummy")


def test_silent_box_is_told_beside_the_models(
    open_page: Callable[..., Page], home: Path, dummy: Classifier
) -> None:
    with serving(dummy, home=home) as url:
        page = open_page(url)
    open_settings(page)
    expect(page.locator("#set-problem")).to_have_text(words("error.network"))
