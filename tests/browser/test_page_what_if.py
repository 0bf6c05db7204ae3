"""What if the picture were different: what the view shows of the scores, and to whom."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect

from browser.gestures import CHELSEA, CLASSIFY, cards, choose, collect_questions, switch_language
from browser.test_page_access import violations
from browser.what_if import (
    GREY,
    MINUS,
    WATCH,
    ask_what_if,
    drag,
    expected_rows,
    rows,
    scores,
    sent,
    sent_picture,
    settle,
    slide,
    view_of,
    words,
)

pytestmark = pytest.mark.browser


def test_view_is_fetched_when_it_is_wanted(watched: Page) -> None:
    fetched: list[str] = []
    watched.on("request", lambda request: fetched.append(request.url))
    choose(watched, CHELSEA)
    expect(cards(watched, "done")).to_have_count(1)
    assert not [url for url in fetched if "whatif" in url]
    watched.locator(".what-if").click()
    expect(view_of(watched)).to_be_visible()
    assert [url for url in fetched if url.endswith("/whatif/en.json")]
    count = len([url for url in fetched if "whatif" in url])
    watched.keyboard.press("Escape")
    watched.locator(".what-if").click()
    expect(view_of(watched)).to_be_visible()
    assert len([url for url in fetched if "whatif" in url]) == count


def test_change_that_is_shown_is_that_of_two_real_answers(watched: Page, server_url: str) -> None:
    page = watched
    view = ask_what_if(page)
    before = scores(server_url, CHELSEA.read_bytes())
    assert rows(page) == expected_rows(before, before, 5)
    view.locator("#whatif-brush-size input").fill("60")
    drag(page, (0.3, 0.3), (0.6, 0.3), (0.6, 0.7), (0.3, 0.7))
    now = scores(server_url, sent(page))
    told = rows(page)
    assert told == expected_rows(before, now, 5)
    assert len(told) > 5
    assert max(abs(now[index] - before[index]) for index in told) > 0.1
    lines = {"+": "up", MINUS: "down", "0": "same"}
    for index, row in told.items():
        line = view.locator(f'tr[data-class="{index}"]')
        expect(line).to_have_attribute("data-direction", lines[row["points"][0]])
    # The picture has its size, so drawing it anew changes nothing by itself.
    expect(view.locator("#whatif-drift")).to_be_empty()
    assert sent_picture(page).size == (451, 300)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_sentence_says_what_became_of_the_first_answer(
    open_page: Callable[..., Page], server_url: str, language: str
) -> None:
    page = open_page(f"{server_url}/?lang={language}", first=WATCH)
    view = ask_what_if(page)
    summary, label = view.locator(".whatif-summary"), {"en": "tiger cat", "zh": "虎纹猫"}[language]
    fill = {"label": label, "percent": "39.5%"}
    expect(summary).to_have_text(words("whatif.original", language).format(**fill))
    slide(page, "brightness", 105)
    now = rows(page)[282]
    fill = {"label": label, **now}
    expect(summary).to_have_text(words("whatif.still", language).format(**fill))
    slide(page, "brightness", 0)
    winner = max(rows(page).values(), key=lambda row: float(row["now"].rstrip("%")))
    expect(summary).to_contain_text(winner["now"])
    expect(summary).to_contain_text(words("whatif.overtaken", language)[:2])
    expect(view.get_by_role("heading", name=words("whatif.title", language))).to_be_visible()


def test_undo_and_reset_bring_the_original_answer_back(watched: Page, server_url: str) -> None:
    page = watched
    view = ask_what_if(page)
    original = rows(page)
    drag(page, (0.4, 0.4), (0.6, 0.6))
    once = rows(page)
    slide(page, "degrees", 40)
    assert rows(page) != once != original
    for expected in (once, original):
        count = page.evaluate("window.sent.length")
        view.get_by_role("button", name=words("whatif.undo")).click()
        settle(page)
        assert rows(page) == expected
    # It is not asked about a copy, which might differ in the last digit: the first answer counts.
    assert page.evaluate("window.sent.length") == count
    before = scores(server_url, CHELSEA.read_bytes())
    assert original == expected_rows(before, before, 5)
    undo = view.get_by_role("button", name=words("whatif.undo"))
    expect(undo).to_have_attribute("aria-disabled", "true")
    undo.click(force=True)
    for name, value in (("degrees", 90), ("brightness", 50), ("quality", 10)):
        slide(page, name, value)
    view.get_by_role("button", name=words("whatif.reset")).click()
    settle(page)
    assert rows(page) == original
    expect(view.locator("#whatif-sent")).to_contain_text(words("whatif.sent_original")[:22])
    values = view.locator("input[name][type=range]").evaluate_all("all => all.map((o) => o.value)")
    assert values == ["0", "100", "101"]


def test_slider_that_moves_in_a_row_is_one_step_to_undo(watched: Page) -> None:
    page = watched
    view = ask_what_if(page)
    for degrees in (10, 20, 30):
        slide(page, "degrees", degrees)
    slide(page, "brightness", 120)
    page.keyboard.press("Control+z")
    expect(view.locator("input[name=degrees]")).to_have_value("30")
    expect(view.locator("input[name=brightness]")).to_have_value("100")
    page.keyboard.press("Control+z")
    expect(view.locator("input[name=degrees]")).to_have_value("0")


def test_all_of_it_works_by_keyboard(watched: Page) -> None:
    page = watched
    choose(page, CHELSEA)
    expect(cards(page, "done")).to_have_count(1)
    page.locator(".what-if").focus()
    page.keyboard.press("Enter")
    view, canvas = view_of(page), view_of(page).locator("canvas")
    expect(canvas).to_be_focused()
    expect(view.locator(".whatif-brush")).to_be_visible()
    settle(page)
    original = rows(page)
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    place = {"across": "37%", "down": "50%"}
    expect(view.locator("#whatif-place")).to_have_text(words("whatif.place").format(**place))
    page.keyboard.press("Space")
    settle(page)
    picture = sent_picture(page)
    assert picture.getpixel((round(0.367 * picture.width), picture.height // 2)) == GREY
    dotted = rows(page)
    for _ in range(12):
        page.keyboard.press("Shift+ArrowRight")
    settle(page)
    line = np.asarray(sent_picture(page))[picture.height // 2]
    assert (line[round(0.37 * picture.width) : round(0.7 * picture.width)] == GREY).all()
    # A line of many steps is one to undo, with the dot that it began with.
    page.keyboard.press("Control+z")
    settle(page)
    assert rows(page) == original != dotted
    page.keyboard.press("Tab")
    expect(view.get_by_role("radio", name=words("whatif.grey"))).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(view.get_by_role("radio", name=words("whatif.crop"), exact=True)).to_be_checked()
    page.keyboard.press("Shift+Tab")
    for key in ("Shift+ArrowLeft", "Shift+ArrowUp", "ArrowLeft"):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    settle(page)
    assert sent_picture(page).size == (round(0.76 * 451), round(0.76 * 300))
    for name in ("degrees", "brightness", "quality"):
        page.keyboard.press("Tab")
        while view.locator(f"input[name={name}]").evaluate("one => one !== document.activeElement"):
            page.keyboard.press("Tab")
        page.keyboard.press("ArrowLeft")
    settle(page)
    expect(view.locator("input[name=degrees]")).to_have_value("-1")
    expect(view.get_by_role("slider", name=words("whatif.quality"))).to_have_attribute(
        "aria-valuetext", "100"
    )
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    settle(page)
    assert rows(page) == original
    page.keyboard.press("Escape")
    expect(view).to_be_hidden()
    expect(page.locator(".what-if")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [1280, 320])
def test_view_breaks_no_rule(
    open_page: Callable[..., Page], server_url: str, scheme: str, language: str, width: int
) -> None:
    viewport = {"width": width, "height": 800}
    page = open_page(f"{server_url}/?lang={language}", color_scheme=scheme, viewport=viewport)
    view = ask_what_if(page)
    assert violations(page) == []
    slide(page, "brightness", 30)
    assert violations(page) == []
    view.get_by_role("radio", name=words("whatif.crop", language), exact=True).check()
    page.route(CLASSIFY, partial(Route.fulfill, status=502, body="<h1>Bad gateway</h1>"))
    view.locator("input[name=degrees]").fill("20")
    expect(view.locator(".whatif-problem-title")).to_have_text(words("error.unknown", language))
    assert violations(page) == []
    assert view.evaluate("view => view.scrollWidth <= view.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_dialog_is_named_in_the_language_of_the_page(watched: Page) -> None:
    page = watched
    ask_what_if(page)
    expect(page.get_by_role("dialog", name=words("whatif.title"))).to_be_visible()
    page.get_by_role("button", name=words("whatif.close"), exact=True).click()
    expect(view_of(page)).to_be_hidden()
    switch_language(page, "zh")
    page.locator(".what-if").click()
    settle(page)
    dialog = page.get_by_role("dialog", name=words("whatif.title", "zh"))
    expect(dialog.locator("#whatif-help")).to_have_text(words("whatif.brush_help", "zh"))
    expect(dialog.locator("tbody .label").first).to_have_text("虎纹猫")


def test_settings_of_the_card_are_asked_with(
    open_page: Callable[..., Page], server_url: str
) -> None:
    page = open_page(f"{server_url}/?top_k=3&preprocessing=nearest&explain=true", first=WATCH)
    questions = collect_questions(page)
    ask_what_if(page)
    slide(page, "brightness", 60)
    now = scores(server_url, sent(page), preprocessing="nearest")
    before = scores(server_url, CHELSEA.read_bytes(), preprocessing="nearest")
    assert rows(page) == expected_rows(before, now, 3)
    for question in questions[1:]:
        assert "preprocessing=nearest" in question.url
        assert "explain" not in question.url
