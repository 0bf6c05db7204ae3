"""The page of the benchmark as a person uses it, in a real Chromium, with real runs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from browser.gestures import switch_language
from browser.test_page_access import violations
from serving import ask, serving
from sightbox.backends.dummy import DummyBackend
from sightbox.benchmark.last import FILE, keep_last
from sightbox.benchmark.report import Json
from sightbox.classifier import Classifier
from sightbox.web.benchmark import RUN, TEXTS
from sightbox.web.pages import load_catalogue
from simulated import Machine, Simulated, measured, reported, small_home

pytestmark = pytest.mark.browser

TOKEN = "a-secret-of-16-letters"  # noqa: S105 - no secret

RUN_MS = 300_000
"""Milliseconds that a whole short run may take on a machine that is busy with other tests."""

STARTS_MS = 60_000
"""The same for its first process."""


def words(key: str, language: str = "en") -> str:
    """Returns a text of the page's own catalogue, its placeholders unfilled."""
    return load_catalogue(language, TEXTS)[key]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Json:
    """A report of a simulated machine."""
    shelf = small_home(tmp_path_factory.mktemp("shelf"))
    machine = Machine(1)
    return reported(shelf, measured(machine, Simulated(shelf, machine)))


@pytest.fixture
def url(home: Path) -> Iterator[str]:
    """The address of a server without a report."""
    with (
        Classifier(backend=DummyBackend(), home=home) as classifier,
        serving(classifier, home=home) as address,
    ):
        yield address
    (home / FILE).unlink(missing_ok=True)


@pytest.fixture
def page(open_page: Callable[..., Page], url: str) -> Page:
    """The page, in English."""
    return open_page(f"{url}/benchmark")


def start(page: Page) -> None:
    """Starts a run by keyboard, and waits for its first step."""
    page.locator("#start").focus()
    page.keyboard.press("Enter")
    # Whichever way has its turn when the page asks next: on a busy machine the first one is missed.
    expect(page.locator("#phase")).to_contain_text("fp32", timeout=STARTS_MS)


@pytest.mark.timeout(600)
def test_run_is_watched_and_its_report_shown(page: Page) -> None:
    expect(page.locator("#report")).to_contain_text(words("bench.none"))
    start(page)
    expect(page.locator("#start")).to_be_hidden()
    expect(page.locator(".beside")).to_have_text(words("bench.beside"))
    bar = page.locator("#bar")
    expect(bar).to_have_js_property("max", 21, timeout=STARTS_MS)
    expect(page.locator("#phase")).to_contain_text("batches, round", timeout=RUN_MS)
    assert float(str(bar.evaluate("bar => bar.value"))) > 10
    expect(page.locator("#outcome-text")).to_have_text(words("bench.said.done"), timeout=RUN_MS)
    expect(page.locator("#start")).to_be_visible()
    expect(page.locator("#report table").first).to_contain_text("onnxruntime fp32")
    expect(page.locator("#report .marks")).to_contain_text("It was a short run")
    expect(page.locator("#announcer")).to_contain_text(words("bench.said.done"))
    switch_language(page, "zh")
    expect(page.locator("#report h2").first).to_have_text(words("bench.last", "zh"))
    expect(page.locator("#outcome-text")).to_have_text(words("bench.said.done", "zh"))


def test_run_is_cancelled_by_keyboard(page: Page, url: str) -> None:
    start(page)
    expect(page.locator("#cancel")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#outcome-text")).to_have_text(words("bench.said.cancelled"))
    expect(page.locator("#going")).to_be_hidden()
    expect(page.locator("#start")).to_be_focused()
    assert ask(url, RUN)[2]["running"] is False


def test_second_start_is_refused_and_the_run_is_watched(
    open_page: Callable[..., Page], page: Page, url: str
) -> None:
    other = open_page(f"{url}/benchmark?lang=zh")
    start(page)
    other.locator("#start").click()
    expect(other.locator("#outcome-text")).to_have_text(words("error.benchmark_running", "zh"))
    expect(other.locator("#going")).to_be_visible()
    late = open_page(f"{url}/benchmark")
    expect(late.locator("#going")).to_be_visible()
    late.locator("#cancel").click()
    expect(page.locator("#outcome-text")).to_have_text(words("bench.said.cancelled"))
    expect(other.locator("#outcome-text")).to_have_text(words("bench.said.cancelled", "zh"))


def test_server_that_stops_is_told(open_page: Callable[..., Page], home: Path) -> None:
    with (
        Classifier(backend=DummyBackend(), home=home) as classifier,
        serving(classifier, home=home) as address,
    ):
        page = open_page(f"{address}/benchmark")
        start(page)
    expect(page.locator("#outcome-text")).to_have_text(load_catalogue("en")["error.network"])
    assert not (home / FILE).exists()


def test_token_is_asked_for_and_then_the_report_is_there(
    open_page: Callable[..., Page], home: Path, report: Json
) -> None:
    keep_last(home, report)
    with (
        Classifier(backend=DummyBackend(), home=home) as classifier,
        serving(classifier, home=home, token=TOKEN) as address,
    ):
        page = open_page(f"{address}/benchmark")
        expect(page.locator("#report")).to_have_text(words("bench.locked"))
        page.locator("#token").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("#report")).to_contain_text("dummy fp32")
        expect(page.locator("#start")).to_be_focused()
    (home / FILE).unlink()


def test_without_javascript_the_report_is_tables(
    open_page: Callable[..., Page], url: str, home: Path, report: Json
) -> None:
    keep_last(home, report)
    page = open_page(f"{url}/benchmark", java_script_enabled=False)
    expect(page.locator("#report table").nth(2)).to_contain_text("dummy fp32")
    expect(page.locator("#start")).to_be_hidden()
    expect(page.locator("noscript p")).to_contain_text(words("bench.noscript"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [1280, 320])
def test_no_view_breaks_a_rule(
    open_page: Callable[..., Page],
    url: str,
    home: Path,
    report: Json,
    scheme: str,
    language: str,
    width: int,
) -> None:
    keep_last(home, report)
    viewport = {"width": width, "height": 800}
    page = open_page(f"{url}/benchmark?lang={language}", color_scheme=scheme, viewport=viewport)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#start").click()
    expect(page.locator("#going")).to_be_visible()
    assert violations(page) == []
    page.locator("#cancel").click()
    expect(page.locator("#outcome")).to_be_visible()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_first_page_leads_here(open_page: Callable[..., Page], url: str) -> None:
    first = open_page(url)
    first.get_by_role("link", name=load_catalogue("en")["foot.benchmark"]).click()
    expect(first.locator("h1")).to_have_text(words("bench.headline"))
    first.wait_for_selector("html[data-ready]", state="attached")
    first.get_by_role("link", name=words("bench.home")).click()
    expect(first).to_have_url(f"{url}/?lang=en")
