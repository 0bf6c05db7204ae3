"""The view for exhibitions, in a real Chromium, with the real embedded model."""

from collections.abc import Callable
from contextlib import ExitStack

import pytest
from playwright.sync_api import Page, expect

from browser.gate import GatedClassifier
from browser.gestures import CHELSEA, COFFEE, choose, fire, read, stop_clock, switch_language
from browser.test_page_access import violations
from serving import serving
from sightbox.classifier import Classifier
from sightbox.errors import DeadlineError
from sightbox.web.kiosk import TEXTS
from sightbox.web.pages import load_catalogue

pytestmark = pytest.mark.browser

IDLE_S = 60
NOTICE_S = 20
"""What `idle.js` says: seconds between the notice and the start."""

IS_GONE = """(address) => new Promise((resolve) => {
  const image = new Image();
  image.onload = () => resolve(false);
  image.onerror = () => resolve(true);
  image.src = address;
})"""

TOKEN = "a-secret-of-24-characters"  # noqa: S105 - it guards nothing


def words(key: str, language: str = "en") -> str:
    """Returns a text of the page, its placeholders unfilled."""
    return (load_catalogue(language) | load_catalogue(language, TEXTS))[key]


def wait_for_answer(page: Page) -> None:
    expect(page.locator('#visit[data-state="done"]')).to_be_visible()


def expect_start(page: Page) -> None:
    """Checks that the next visitor finds nothing of the one before."""
    expect(page.locator("#start")).to_be_visible()
    expect(page.locator("#visit")).to_be_hidden()
    expect(page.locator("#camera")).to_be_hidden()
    expect(page.locator("#notice")).to_be_hidden()


@pytest.fixture
def kiosk(open_page: Callable[..., Page], server_url: str) -> Page:
    """The view in English, on a wall screen, whose time only the test moves."""
    page = open_page(f"{server_url}/kiosk", viewport={"width": 1920, "height": 1080})
    stop_clock(page)
    return page


@pytest.mark.parametrize(("language", "label"), [("en", "espresso"), ("zh", "浓缩咖啡")])
def test_dropped_picture_gets_one_large_answer_with_its_bars(
    open_page: Callable[..., Page], server_url: str, language: str, label: str
) -> None:
    screen = {"width": 1920, "height": 1080}
    page = open_page(f"{server_url}/kiosk?lang={language}", viewport=screen)
    fire(page, "drop", read(COFFEE))
    wait_for_answer(page)
    rows = page.locator("#visit li")
    expect(rows).to_have_count(3)
    expect(rows.first.locator(".label")).to_have_text(label)
    assert rows.first.evaluate("row => parseFloat(getComputedStyle(row).fontSize)") >= 48
    assert rows.first.locator(".bar").evaluate("bar => bar.clientHeight") >= 16
    expect(page.locator("#announcer p").last).to_contain_text(label)
    # All of it is on the screen at once.
    assert page.evaluate("document.documentElement.scrollHeight") <= screen["height"]
    assert page.evaluate("document.querySelector('#visit img').naturalWidth") == 600


def test_view_starts_over_when_nobody_touches_it(kiosk: Page, server_url: str) -> None:
    choose(kiosk, CHELSEA)
    wait_for_answer(kiosk)
    switch_language(kiosk, "zh")
    expect(kiosk.locator("#visit .label").first).to_have_text("虎纹猫")
    preview = kiosk.locator("#visit img").get_attribute("src")
    kiosk.clock.run_for(1000 * (IDLE_S - NOTICE_S - 1))
    expect(kiosk.locator("#notice")).to_be_hidden()
    kiosk.clock.run_for(1000)
    expect(kiosk.locator("#notice")).to_have_text(words("kiosk.soon", "zh"))
    # Whoever is still there keeps it.
    kiosk.keyboard.press("Shift")
    expect(kiosk.locator("#notice")).to_be_hidden()
    kiosk.clock.run_for(1000 * (IDLE_S - 1))
    expect(kiosk.locator("#notice")).to_be_visible()
    kiosk.clock.run_for(1000)
    expect_start(kiosk)
    expect(kiosk.locator("h1")).to_have_text(words("hero.title"))
    assert kiosk.url == f"{server_url}/kiosk"
    expect(kiosk.locator("#visit img")).to_have_count(0)
    assert kiosk.evaluate(IS_GONE, preview)


def test_address_sets_how_long_it_waits_and_the_start_has_no_notice(
    open_page: Callable[..., Page], server_url: str
) -> None:
    page = open_page(f"{server_url}/kiosk?idle=300")
    stop_clock(page)
    page.keyboard.press("Shift")
    page.clock.run_for(1000 * 290)
    expect(page.locator("#notice")).to_be_hidden()
    choose(page, CHELSEA)
    wait_for_answer(page)
    page.clock.run_for(1000 * 299)
    expect(page.locator("#visit")).to_be_visible()
    expect(page.locator("#notice")).to_be_visible()
    page.clock.run_for(1000)
    expect_start(page)


@pytest.mark.parametrize("idle", ["1", "39", "1e9", "soon", ""])
def test_time_too_short_to_read_or_endless_is_the_usual_one(
    open_page: Callable[..., Page], server_url: str, idle: str
) -> None:
    page = open_page(f"{server_url}/kiosk?idle={idle}")
    stop_clock(page)
    choose(page, CHELSEA)
    wait_for_answer(page)
    page.clock.run_for(1000 * (IDLE_S - 1))
    expect(page.locator("#visit")).to_be_visible()
    page.clock.run_for(1000)
    expect_start(page)


def test_escape_leads_back_to_the_start_and_then_out(kiosk: Page, server_url: str) -> None:
    choose(kiosk, CHELSEA)
    wait_for_answer(kiosk)
    kiosk.keyboard.press("Escape")
    expect_start(kiosk)
    kiosk.keyboard.press("Escape")
    expect(kiosk).to_have_url(f"{server_url}/")


def test_view_is_used_by_keyboard_alone(kiosk: Page, server_url: str) -> None:
    leave = kiosk.get_by_role("link", name=words("kiosk.leave"))
    assert leave.evaluate("link => link.offsetWidth") <= 2
    kiosk.keyboard.press("Tab")
    expect(leave).to_be_focused()
    assert leave.evaluate("link => link.offsetWidth") > 60
    kiosk.locator("#drop").focus()
    kiosk.keyboard.press("Tab")
    expect(kiosk.locator('[data-sample="balloon"]')).to_be_focused()
    kiosk.keyboard.press("Enter")
    wait_for_answer(kiosk)
    expect(kiosk.locator("#visit .label").first).to_have_text("balloon")
    expect(kiosk.locator("#again")).to_be_focused()
    kiosk.keyboard.press("Enter")
    expect_start(kiosk)
    expect(kiosk.locator("#camera-open")).to_be_focused()
    leave.focus()
    kiosk.keyboard.press("Enter")
    expect(kiosk).to_have_url(f"{server_url}/")


def test_full_screen_is_entered_and_left_on_demand(kiosk: Page) -> None:
    button = kiosk.locator("#full")
    button.click()
    expect(button).to_have_text(words("kiosk.full.leave"))
    assert kiosk.evaluate("document.fullscreenElement === document.documentElement")
    switch_language(kiosk, "zh")
    expect(button).to_have_text(words("kiosk.full.leave", "zh"))
    # Starting over does not leave it.
    choose(kiosk, CHELSEA)
    wait_for_answer(kiosk)
    kiosk.clock.run_for(1000 * IDLE_S)
    expect_start(kiosk)
    assert kiosk.evaluate("document.fullscreenElement !== null")
    button.click()
    expect(button).to_have_text(words("kiosk.full"))


def test_camera_is_the_centre_and_one_picture_of_it_is_kept(
    film: Callable[[str], Page], server_url: str
) -> None:
    page = film(f"{server_url}/kiosk")
    camera = page.locator("#camera")
    expect(camera.locator("li .label").first).to_have_text("espresso")
    expect(page.locator("#start")).to_be_hidden()
    expect(page.locator("#camera-close")).to_be_focused()
    expect(page.locator(".camera-choice")).to_be_hidden()
    page.locator("#camera-keep").click()
    wait_for_answer(page)
    expect(page.locator("#visit .label").first).to_have_text("espresso")
    assert page.locator("video").evaluate("video => video.srcObject") is None
    page.keyboard.press("Escape")
    expect_start(page)


def test_camera_ends_with_the_visit(film: Callable[[str], Page], server_url: str) -> None:
    page = film(f"{server_url}/kiosk?idle=40")
    expect(page.locator("#camera li .label").first).to_have_text("espresso")
    page.clock.install()
    page.keyboard.press("Shift")
    page.clock.run_for(1000 * 40)
    expect_start(page)
    assert page.locator("video").evaluate("video => video.srcObject") is None


def test_what_goes_wrong_has_its_words_and_a_way_on(
    open_page: Callable[..., Page], gated_url: str, gated: GatedClassifier
) -> None:
    page = open_page(f"{gated_url}/kiosk")
    fire(page, "drop", [("broken.png", b"no picture")])
    expect(page.locator(".problem-title")).to_have_text(words("error.unsupported_format"))
    expect(page.locator("#visit .no-preview")).to_be_visible()
    expect(page.locator(".retry")).to_be_hidden()
    gated.refuse(DeadlineError("Late."))
    fire(page, "drop", read(CHELSEA))
    expect(page.locator(".problem-title")).to_have_text(words("error.deadline_exceeded"))
    expect(page.locator("#visit .no-preview")).to_be_hidden()
    gated.refuse(None)
    page.locator(".retry").click()
    wait_for_answer(page)
    expect(page.locator(".problem")).to_be_hidden()
    page.locator("#again").click()
    fire(page, "paste", [])
    expect(page.locator("#hint")).to_have_text(words("paste.no_picture"))
    page.locator("#camera-open").click()
    expect(page.locator("#camera-problem")).not_to_be_empty()
    page.locator("#camera-close").click()
    expect(page.locator("#camera-open")).to_be_focused()


def test_server_gone_is_told_and_the_view_starts_over_all_the_same(
    open_page: Callable[..., Page], dummy: Classifier
) -> None:
    with ExitStack() as server:
        page = open_page(f"{server.enter_context(serving(dummy))}/kiosk")
    page.clock.install()
    choose(page, CHELSEA)
    expect(page.locator(".problem-title")).to_have_text(words("error.network"))
    page.clock.run_for(1000 * IDLE_S)
    expect_start(page)


def test_token_is_asked_for(
    open_page: Callable[..., Page], dummy: Classifier, home: object
) -> None:
    with serving(dummy, home=home, token=TOKEN) as url:
        page = open_page(f"{url}/kiosk")
        choose(page, CHELSEA)
        expect(page.locator("#verdict")).to_have_text(words("card.locked"))
        page.locator("#token").fill(TOKEN)
        page.keyboard.press("Enter")
        wait_for_answer(page)
        expect(page.locator("#unlock")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("size", [(3840, 2160), (320, 640)])
def test_no_view_breaks_a_rule(
    open_page: Callable[..., Page],
    server_url: str,
    scheme: str,
    language: str,
    size: tuple[int, int],
) -> None:
    page = open_page(
        f"{server_url}/kiosk?lang={language}",
        color_scheme=scheme,
        viewport={"width": size[0], "height": size[1]},
    )
    page.clock.install()
    assert violations(page) == []
    fire(page, "drop", read(CHELSEA))
    wait_for_answer(page)
    page.clock.run_for(1000 * (IDLE_S - NOTICE_S))
    expect(page.locator("#notice")).to_be_visible()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    fire(page, "drop", [("broken.png", b"no picture")])
    expect(page.locator(".problem")).to_be_visible()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.locator("#camera-open").click()
    expect(page.locator("#camera-problem")).not_to_be_empty()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_first_page_leads_here(page: Page) -> None:
    page.get_by_role("link", name=words("foot.kiosk")).click()
    expect(page).to_have_title(words("kiosk.title"))
    page.wait_for_selector("html[data-ready]", state="attached")


def test_without_javascript_the_view_says_where_to_go(
    open_page: Callable[..., Page], server_url: str
) -> None:
    page = open_page(f"{server_url}/kiosk?lang=zh", java_script_enabled=False)
    expect(page.locator("noscript p")).to_contain_text(words("kiosk.noscript", "zh"))
    expect(page.locator("#start")).to_be_hidden()
    page.locator("noscript a").click()
    expect(page.locator("form[method=post]")).to_be_visible()
