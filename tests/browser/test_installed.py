"""The page as an app in a real Chromium: it can be installed, and has words when the box is off."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Request, expect

from browser.gestures import CHELSEA, cards, choose, words
from browser.icons import ICONS, draw
from serving import running
from sightbox.classifier import Classifier
from sightbox.settings import load_settings
from sightbox.web.app import create_app
from sightbox.web.assets import FOLDER
from sightbox.web.lesson import TEXTS
from sightbox.web.pages import load_catalogue
from sightbox.web.server import Server

pytestmark = pytest.mark.browser

FIRST_PAGE_BYTES = 60 * 1024
"""What the first page may weigh, as it travels: bodies, compressed."""

ACTIVE = "navigator.serviceWorker.ready.then(() => undefined)"


@contextmanager
def box(classifier: Classifier, home: Path, port: int = 0) -> Iterator[Server]:
    """Runs the box, on a port that it may have had before."""
    settings = load_settings(port=port, home=home)
    with running(create_app(classifier, settings), settings) as server:
        yield server


def test_browser_finds_nothing_against_installing(page: Page) -> None:
    page.evaluate(ACTIVE)
    session = page.context.new_cdp_session(page)
    found = session.send("Page.getAppManifest")
    assert found["errors"] == []
    assert found["url"].endswith("/manifest.webmanifest?lang=en")
    problems = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    # Chromium installs nothing from a profile that leaves no trace, as those of the tests.
    assert {problem["errorId"] for problem in problems} <= {"in-incognito"}


def test_box_that_is_off_is_told_and_found_again(
    open_page: Callable[..., Page], classifier: Classifier, home: Path
) -> None:
    with box(classifier, home) as server:
        url = server.url
        page = open_page(url)
        page.evaluate(ACTIVE)
    page.goto(f"{url}/how-it-works")
    said = page.locator("section")
    expect(said.first.locator("h2")).to_have_text(words("error.network"))
    expect(said.last.locator("h2")).to_have_text(words("error.network", "zh"))
    colour = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert colour == "rgb(242, 244, 243)"
    with box(classifier, home, port=int(url.rpartition(":")[2])):
        said.first.get_by_role("link").click()
        page.wait_for_selector("html[data-ready]", state="attached")
        expect(page.locator("h1")).to_have_text(load_catalogue("en", TEXTS)["lesson.headline"])


def test_link_from_another_site_still_leads_to_the_page(chromium: Browser, server_url: str) -> None:
    """The worker must not turn a link that a person follows into a request of a script."""
    link = f"<a href='{server_url}/'>there</a>"
    elsewhere = "http://elsewhere.example/"
    with chromium.new_context() as context:
        page = context.new_page()
        page.route(elsewhere, lambda route: route.fulfill(content_type="text/html", body=link))
        page.goto(server_url)
        page.evaluate(ACTIVE)
        page.goto(elsewhere)
        page.get_by_role("link").click()
        page.wait_for_selector("html[data-ready]", state="attached")
        assert page.evaluate("Boolean(navigator.serviceWorker.controller)")


def test_worker_keeps_neither_pictures_nor_answers(page: Page) -> None:
    page.evaluate(ACTIVE)
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.evaluate("Boolean(navigator.serviceWorker.controller)")
    choose(page, CHELSEA)
    expect(cards(page, "done")).to_have_count(1)
    kept = page.evaluate(
        """async () => {
          const all = (await caches.keys()).map((name) => caches.open(name));
          const requests = await Promise.all((await Promise.all(all)).map((one) => one.keys()));
          return requests.flat().map(({ url }) => new URL(url).pathname.split("/").at(-1));
        }"""
    )
    assert sorted(kept) == ["icon.svg", "offline", "page.css", "theme.css"]


def test_first_page_travels_light(chromium: Browser, server_url: str) -> None:
    finished: list[Request] = []

    def note(request: Request) -> None:
        finished.append(request)

    with chromium.new_context(locale="en-GB") as context:
        page = context.new_page()
        page.on("requestfinished", note)
        page.goto(server_url)
        page.wait_for_selector("html[data-ready]", state="attached")
        page.wait_for_load_state("networkidle")
        sizes = [request.sizes()["responseBodySize"] for request in finished]
    # Of what the browser has already, playwright subtracts a head that did not come.
    travelled = [size for size in sizes if size > 0]
    assert len(travelled) >= 40
    assert sum(travelled) <= FIRST_PAGE_BYTES


@pytest.mark.parametrize("name", ICONS)
def test_icon_is_the_drawing(chromium: Browser, name: str) -> None:
    fresh = np.asarray(draw(chromium, name).convert("RGBa"), dtype=int)
    kept = np.asarray(
        Image.open(FOLDER / "icons" / name).convert("RGBA").convert("RGBa"), dtype=int
    )
    # Few colours stand for the many of the edges; another version of Chromium smooths otherwise.
    assert np.abs(fresh - kept).mean() < 1
