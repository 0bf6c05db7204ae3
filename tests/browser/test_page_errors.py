"""What the page says, and lets one do, when something goes wrong."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from browser.gate import GatedClassifier
from browser.gestures import (
    CHELSEA,
    CLASSIFY,
    COFFEE,
    ROCKET,
    cards,
    choose,
    collect_questions,
    fire,
    names,
    read,
    switch_language,
    words,
)
from serving import ask, serving
from sightbox.backends import Pixels
from sightbox.backends.dummy import DummyBackend
from sightbox.classifier import Classifier
from sightbox.errors import (
    BackendError,
    BodyTooLargeError,
    ClosedError,
    DeadlineError,
    ImageError,
    ImageFormatError,
    ImageTooLargeError,
    ModelError,
    ModelNotFoundError,
    ModelTooLargeError,
    QueueFullError,
    RequestError,
    SightboxError,
)
from sightbox.web.guard import ForbiddenError

pytestmark = pytest.mark.browser

# Each refusal that a picture can meet, and whether asking again may help.
REFUSALS: list[tuple[type[SightboxError], bool]] = [
    (ForbiddenError, False),
    (ImageError, False),
    (BodyTooLargeError, False),
    (ImageFormatError, False),
    (ImageTooLargeError, False),
    (BackendError, True),
    (ClosedError, True),
    (DeadlineError, True),
    (ModelNotFoundError, False),
    (ModelError, False),
    (ModelTooLargeError, False),
    (RequestError, False),
]


def test_nothing_to_take_is_said_until_a_picture_comes(page: Page) -> None:
    for kind, key in (("paste", "paste.no_picture"), ("drop", "drop.no_file")):
        fire(page, kind, [])
        expect(page.locator("#hint")).to_have_text(words(key))
        expect(page.locator("#announcer p").last).to_have_text(words(key))
    choose(page, CHELSEA)
    expect(page.locator("#hint")).to_have_text(words("drop.hint").format(mb=32))


def test_bad_file_among_three_spoils_only_its_card(page: Page) -> None:
    broken = ("broken.jpg", ROCKET.read_bytes()[:3000])
    fire(page, "drop", [*read(CHELSEA), broken, *read(COFFEE)])
    expect(cards(page, "done")).to_have_count(2)
    failed = cards(page, "failed")
    expect(failed.locator(".problem-title")).to_have_text(words("error.bad_image"))
    expect(failed.locator(".problem-detail")).to_contain_text("truncated")
    expect(failed.locator(".retry")).to_be_hidden()
    assert names(page) == ["chelsea.png", "broken.jpg", "coffee.png"]


def test_each_refusal_has_its_words_and_a_way_on(gated_page: Page, gated: GatedClassifier) -> None:
    page = gated_page
    for refusal, again in REFUSALS:
        gated.refuse(refusal("It is 1 % so.", "Do <b>that</b>."))
        choose(page, CHELSEA)
        card = cards(page, "failed").first
        title, hint = f"error.{refusal.code}", f"error.{refusal.code}.hint"
        expect(card.locator(".problem-title")).to_have_text(words(title))
        expect(card.locator(".problem-hint")).to_have_text(words(hint).format(mb=32, size="0.2"))
        expect(card.locator(".problem-detail")).to_have_text("It is 1 % so. Do <b>that</b>.")
        expect(card.locator(".retry")).to_be_visible(visible=again)
        expect(page.locator("#announcer p").last).to_contain_text(words(title))
    switch_language(page, "zh")
    expect(page.locator(".problem-title")).to_have_text(
        [words(f"error.{refusal.code}", "zh") for refusal, _ in reversed(REFUSALS)]
    )


def test_answer_nobody_foresaw_has_words_too(gated_page: Page, gated: GatedClassifier) -> None:
    page = gated_page
    gated.refuse(ZeroDivisionError("a bug"))
    choose(page, CHELSEA)
    expect(page.locator(".problem-title")).to_have_text(words("error.unknown"))
    # What a proxy between the page and the box may say.
    for count, (status, body) in enumerate([(502, "<h1>Bad gateway</h1>"), (200, "{")], start=2):
        page.unroute_all()
        page.route(CLASSIFY, partial(Route.fulfill, status=status, body=body))
        choose(page, CHELSEA)
        expect(page.locator(".problem-title")).to_have_text([words("error.unknown")] * count)
        expect(page.locator(".retry").first).to_be_visible()


def test_server_gone_is_said_and_the_cards_stay(
    open_page: Callable[..., Page], gated: GatedClassifier
) -> None:
    with ExitStack() as server:
        page = open_page(server.enter_context(serving(gated)))
        choose(page, CHELSEA)
        expect(cards(page, "done")).to_have_count(1)
    choose(page, COFFEE)
    expect(page.locator(".problem-title").first).to_have_text(words("error.network"))
    expect(page.locator(".problem-hint").first).to_have_text(words("error.network.hint"))
    expect(cards(page, "done")).to_have_count(1)
    switch_language(page, "zh")
    expect(page.locator("#hint")).to_have_text(words("error.network"))
    expect(cards(page, "done")).to_have_count(1)


def test_full_box_is_asked_again_by_itself_and_says_when(
    open_page: Callable[..., Page], gated_url: str, gated: GatedClassifier
) -> None:
    page = open_page(gated_url)
    page.clock.install()
    questions = collect_questions(page)
    gated.refuse(QueueFullError("Full."))
    choose(page, CHELSEA)
    for seconds in (1, 2, 3, 4):
        text = words("card.busy").format(seconds=seconds)
        expect(cards(page, "busy").locator(".status-text")).to_have_text(text)
        assert len(questions) == seconds
        page.clock.run_for(1000 * seconds)
    expect(page.locator(".problem-title")).to_have_text(words("error.queue_full"))
    page.locator(".retry").click()
    expect(cards(page, "busy")).to_have_count(1)
    gated.let_go()
    page.clock.run_for(1000)
    expect(cards(page, "done")).to_have_count(1)


def test_retry_asks_again_and_a_vanished_file_is_not_blamed_on_the_server(
    gated_page: Page, gated: GatedClassifier, tmp_path: Path
) -> None:
    page, photo = gated_page, tmp_path / "gone.png"
    photo.write_bytes(COFFEE.read_bytes())
    gated.refuse(DeadlineError("Late."))
    choose(page, CHELSEA, photo)
    expect(cards(page, "failed")).to_have_count(2)
    photo.unlink()
    gated.let_go()
    page.locator(".retry").last.click()
    expect(page.locator(".problem-title").last).to_have_text(words("error.unreadable_file"))
    page.locator(".retry").first.click()
    expect(cards(page, "done").locator(".name")).to_have_text("chelsea.png")
    expect(page.locator(".problem").first).to_be_hidden()
    expect(page.locator(".remove").first).to_be_focused()


def test_engine_that_failed_answers_the_retry(open_page: Callable[..., Page], home: Path) -> None:
    calls = iter([False, True])  # the proof at the start, then the picture

    def fail_once(_images: Pixels) -> None:
        if next(calls, False):
            raise BackendError("Out of order.")

    with (
        Classifier(backend=DummyBackend(fail_once), home=home) as classifier,
        serving(classifier) as url,
    ):
        page = open_page(url)
        choose(page, CHELSEA)
        expect(page.locator(".problem-title")).to_have_text(words("error.backend_failed"))
        expect(page.locator(".problem-detail")).to_have_text("Out of order.")
        while ask(url, "/readyz")[0] != 200:
            pass
        page.locator(".retry").click()
        expect(cards(page, "done")).to_have_count(1)


def test_too_large_file_is_refused_before_it_is_sent(
    open_page: Callable[..., Page], gated: GatedClassifier
) -> None:
    with serving(gated, max_body_mb=0.2) as url:
        page = open_page(url)
        questions = collect_questions(page)
        # A megabyte is 1,000,000 bytes, for the page as for the server.
        fire(page, "drop", [("fits.png", bytes(200_000))])
        expect(page.locator(".problem-title")).to_have_text(words("error.unsupported_format"))
        assert len(questions) == 1
        fire(page, "drop", [("large.png", bytes(200_001))])
        expect(page.locator(".problem-title").first).to_have_text(words("error.body_too_large"))
        hint = page.locator(".problem-hint").first
        expect(hint).to_contain_text("0.2 MB, and 0.2 MB is the most")
        assert len(questions) == 1


def test_refusal_of_a_large_upload_reaches_the_reader(
    open_page: Callable[..., Page], gated: GatedClassifier
) -> None:
    with serving(gated, max_body_mb=0.05) as url:
        page = open_page(url)
        # The page looks at the size before it sends; here it must not see it.
        page.evaluate("Object.defineProperty(File.prototype, 'size', { get: () => 1 })")
        choose(page, CHELSEA)
        expect(page.locator(".problem-title")).to_have_text(words("error.body_too_large"))
        detail = page.locator(".problem-detail")
        expect(detail).to_contain_text("larger than 0.05 MB")
        expect(detail).to_contain_text("max_body_mb")
