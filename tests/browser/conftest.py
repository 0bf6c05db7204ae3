"""Real servers and a real Chromium for the page."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from browser.chromium import ARGUMENTS, find_chromium, launch
from browser.gate import GatedClassifier
from browser.gestures import COFFEE
from browser.what_if import WATCH
from serving import serving
from sightbox.classifier import Classifier

PATIENCE_MS = 10_000
"""Milliseconds until a missing element fails a test."""

FRAMES = 10
"""Pictures of the film that the camera plays."""


@pytest.fixture(scope="session")
def server_url(classifier: Classifier, home: Path) -> Iterator[str]:
    """The address of a server with the real embedded model."""
    with serving(classifier, home=home) as url:
        yield url


@pytest.fixture(scope="session")
def gated_classifier(home: Path) -> Iterator[GatedClassifier]:
    with GatedClassifier(home) as classifier:
        yield classifier


@pytest.fixture
def gated(gated_classifier: GatedClassifier) -> Iterator[GatedClassifier]:
    """A classifier behind a gate, which is open again after each test."""
    yield gated_classifier
    gated_classifier.let_go()


@pytest.fixture(scope="session")
def gated_url(gated_classifier: GatedClassifier, home: Path) -> Iterator[str]:
    """The address of a server with the classifier behind the gate."""
    with serving(gated_classifier, home=home) as url:
        yield url


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if find_chromium() is None:
        pytest.skip("there is no Chromium on the PATH")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright, launch(playwright) as browser:
        yield browser


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """A function that opens an address in a fresh profile.

    Its script `first` runs before the page's own; the other options are the context's.

    At the end no page may have logged an error, thrown, broken the policy, or asked anything of
    another origin.
    """
    faults: list[str] = []

    def open_address(url: str, first: str = "", **options: object) -> Page:
        settings: dict[str, object] = {"locale": "en-GB", "reduced_motion": "reduce"}
        context = chromium.new_context(**(settings | options))  # type: ignore[arg-type]
        context.add_init_script(first)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        _watch(page, "/".join(url.split("/")[:3]), faults)
        page.goto(url, wait_until="commit")
        if options.get("java_script_enabled", True):
            page.wait_for_selector("html[data-ready]", state="attached")
        return page

    yield open_address
    for context in chromium.contexts:
        context.close()
    assert faults == []


@pytest.fixture
def page(open_page: Callable[..., Page], server_url: str) -> Page:
    """The page of the real model, in English, on a laptop's screen."""
    return open_page(server_url)


@pytest.fixture
def gated_page(open_page: Callable[..., Page], gated_url: str) -> Page:
    """The page of the classifier behind the gate."""
    return open_page(gated_url)


@pytest.fixture
def watched(open_page: Callable[..., Page], server_url: str) -> Page:
    """The page of the real model, with what it sends kept."""
    return open_page(server_url, first=WATCH)


@pytest.fixture(scope="session")
def filming(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose camera sees a cup of coffee, and whose owner allows it."""
    film = tmp_path_factory.mktemp("film") / "coffee.mjpeg"
    with Image.open(COFFEE) as photo, film.open("wb") as file:
        frame = photo.convert("RGB").crop((34, 0, 567, 400)).resize((320, 240))
        for _ in range(FRAMES):
            frame.save(file, "JPEG")
    flags = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
    )
    with chromium.browser_type.launch(
        executable_path=find_chromium(), args=[*ARGUMENTS, *flags]
    ) as browser:
        yield browser


@pytest.fixture
def film(filming: Browser) -> Iterator[Callable[[str], Page]]:
    """A function that opens an address and then the camera."""
    faults: list[str] = []

    def open_camera(url: str) -> Page:
        page = filming.new_context(locale="en-GB", reduced_motion="reduce").new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(url, wait_until="commit")
        page.wait_for_selector("html[data-ready]", state="attached")
        page.locator("#camera-open").click()
        return page

    yield open_camera
    for context in filming.contexts:
        context.close()
    assert [fault for fault in faults if not fault.startswith("Failed to load")] == []


def _watch(page: Page, origin: str, faults: list[str]) -> None:
    def on_console(message: ConsoleMessage) -> None:
        # A refused upload is logged by the browser itself; it is no fault of the page.
        if not message.text.startswith("Failed to load resource"):
            faults.append(f"{message.type}: {message.text}")

    def on_request(request: Request) -> None:
        if not request.url.startswith((f"{origin}/", f"blob:{origin}/")):
            faults.append(f"outside: {request.url}")

    page.on("pageerror", lambda error: faults.append(f"thrown: {error}"))
    page.on("console", on_console)
    page.on("request", on_request)
