"""What if the picture were different: haste, a box that is busy, and one that is gone."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from browser.gate import GatedClassifier
from browser.gestures import CHELSEA, CLASSIFY, cards, choose, collect_questions
from browser.what_if import (
    WATCH,
    ask_what_if,
    chelsea,
    points,
    rows,
    scores,
    sent,
    sent_picture,
    settle,
    slide,
    view_of,
    words,
)
from serving import serving
from sightbox.errors import BackendError, QueueFullError

pytestmark = pytest.mark.browser


def test_fast_moves_end_with_the_answer_of_the_last_state(
    open_page: Callable[..., Page], gated_url: str, gated: GatedClassifier
) -> None:
    page = open_page(gated_url, first=WATCH)
    view = ask_what_if(page)
    slide(page, "brightness", 105)  # the first change costs one question more
    count = page.evaluate("() => { window.most = 0; return window.sent.length; }")
    gated.hold()
    move = """(slider, values) => {
      for (const value of values) {
        slider.value = value;
        slider.dispatchEvent(new InputEvent("input", { bubbles: true }));
      }
    }"""
    slider = view.locator("input[name=brightness]")
    for start in range(0, 100, 10):
        slider.evaluate(move, list(range(start, start + 10, 5)))
    expect(view.locator("table")).to_have_attribute("aria-busy", "true")
    gated.let_go()
    settle(page)
    expect(slider).to_have_value("95")
    # While a hand moves, what is under way goes on, and of the rest the last one counts.
    assert page.evaluate("window.sent.length") <= count + 3
    assert page.evaluate("window.most") == 1
    now = scores(gated_url, sent(page))
    before = scores(gated_url, CHELSEA.read_bytes())
    told = rows(page)
    best = next(iter(now))
    assert told[best]["now"] == f"{now[best]:.1%}"
    assert told[best]["points"] == points(now[best] - before[best])
    original = chelsea()
    assert np.abs(np.asarray(sent_picture(page)) - original * 0.95).max() <= 1


def test_answer_for_an_earlier_state_is_given_up(
    open_page: Callable[..., Page], gated_url: str, gated: GatedClassifier
) -> None:
    page = open_page(gated_url, first=WATCH)
    view = ask_what_if(page)
    slide(page, "brightness", 105)
    given_up: list[str] = []
    page.on("requestfailed", lambda request: given_up.append(request.url))
    gated.hold()
    slider = view.locator("input[name=brightness]")
    with page.expect_request(CLASSIFY):
        slider.fill("50")
    with page.expect_request(CLASSIFY):
        slider.fill("60")
    assert len(given_up) == 1
    assert page.evaluate("window.most") == 1
    gated.let_go()
    settle(page)
    best = next(iter(scores(gated_url, sent(page))))
    assert best in rows(page)
    gated.hold()
    with page.expect_request(CLASSIFY):
        slider.fill("70")
    with page.expect_event("requestfailed"):
        page.keyboard.press("Escape")
    expect(view).to_be_hidden()
    assert view.locator("canvas").evaluate("canvas => canvas.width * canvas.height") == 0
    gated.let_go()


def test_server_gone_is_said_and_the_edits_stay(
    open_page: Callable[..., Page], gated: GatedClassifier
) -> None:
    with ExitStack() as server:
        page = open_page(server.enter_context(serving(gated)), first=WATCH)
        view = ask_what_if(page)
        slide(page, "brightness", 50)
        told = rows(page)
    view.locator("input[name=degrees]").fill("10")
    expect(view.locator(".whatif-problem-title")).to_have_text(words("error.network"))
    expect(view.locator(".whatif-problem-hint")).to_have_text(words("error.network.hint"))
    expect(view.locator(".whatif-summary")).to_have_text(words("whatif.stale"))
    assert rows(page) == told
    view.get_by_role("button", name=words("card.retry")).click()
    expect(view.locator(".whatif-problem-title")).to_have_text(words("error.network"))
    expect(view.locator("input[name=degrees]")).to_have_value("10")
    page.keyboard.press("Escape")
    expect(view).to_be_hidden()


@pytest.mark.parametrize("missing", ["whatif/dialog.html", "whatif/whatif.css", "whatif/en.json"])
def test_server_gone_before_the_view_came_is_said_on_the_card(
    open_page: Callable[..., Page], server_url: str, missing: str
) -> None:
    page = open_page(server_url)
    choose(page, CHELSEA)
    expect(cards(page, "done")).to_have_count(1)
    page.route(f"**/{missing}", lambda route: route.abort())
    page.locator(".what-if").click()
    expect(page.locator(".why-problem")).to_have_text(words("error.network"))
    page.unroute_all()
    page.locator(".what-if").click()
    expect(view_of(page)).to_be_visible()
    expect(page.locator(".why-problem")).to_be_empty()
    assert page.locator("link[href$='whatif.css']").count() == 1


def test_failure_is_said_and_asked_about_once_more(
    gated_page: Page, gated: GatedClassifier
) -> None:
    page = gated_page
    view = ask_what_if(page)
    gated.refuse(BackendError("Out of order."))
    view.locator("input[name=brightness]").fill("50")
    expect(view.locator(".whatif-problem-title")).to_have_text(words("error.backend_failed"))
    gated.let_go()
    view.get_by_role("button", name=words("card.retry")).click()
    settle(page)
    expect(view.locator(".whatif-problem-title")).to_be_empty()
    expect(view.get_by_role("button", name=words("card.retry"))).to_be_hidden()


def test_full_box_is_asked_again_by_itself(
    open_page: Callable[..., Page], gated_url: str, gated: GatedClassifier
) -> None:
    page = open_page(gated_url)
    page.clock.install()
    view = ask_what_if(page)
    slide(page, "brightness", 60)
    questions = collect_questions(page)
    gated.refuse(QueueFullError("Full."))
    view.locator("input[name=brightness]").fill("50")
    hint = view.locator(".whatif-problem-hint")
    expect(hint).to_have_text(words("card.busy").format(seconds=1))
    expect(view.locator(".whatif-problem-title")).to_have_text(words("error.queue_full"))
    assert len(questions) == 1
    gated.let_go()
    page.clock.run_for(1000)
    settle(page)
    expect(hint).to_be_empty()
    assert len(questions) == 2


def test_change_that_grows_too_large_is_said_with_a_way_on(
    open_page: Callable[..., Page], gated: GatedClassifier, tmp_path: Path
) -> None:
    photo = tmp_path / "small.jpg"
    with Image.open(CHELSEA) as picture:
        picture.convert("RGB").save(photo, quality=50)
    with serving(gated, max_body_mb=0.05) as url:
        page = open_page(url)
        view = ask_what_if(page, photo)
        view.locator("input[name=brightness]").fill("90")
        expect(view.locator(".whatif-problem-title")).to_have_text(words("error.body_too_large"))
        hint = view.locator(".whatif-problem-hint")
        expect(hint).to_contain_text("0.05 MB is the most")
        expect(hint).to_contain_text(words("whatif.quality"))
        slide(page, "quality", 60)
        expect(view.locator(".whatif-problem-title")).to_be_empty()


def test_token_that_is_wanted_has_its_form_on_the_page(
    open_page: Callable[..., Page], server_url: str
) -> None:
    page = open_page(server_url)
    view = ask_what_if(page)
    body = {"code": "token_needed", "detail": "A token."}
    page.route(CLASSIFY, partial(Route.fulfill, status=401, json=body))
    view.locator("input[name=brightness]").fill("90")
    expect(view).to_be_hidden()
    expect(page.locator("#token")).to_be_focused()
