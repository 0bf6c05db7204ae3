"""Makes the pictures of the pages for the documents: ``make screenshots``."""

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageOps
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from browser.chromium import launch  # noqa: E402 - found on the path above
from browser.gestures import CHELSEA, COFFEE, PHOTOS, cards, choose  # noqa: E402
from serving import serving  # noqa: E402
from sightbox.benchmark.last import keep_last  # noqa: E402
from sightbox.benchmark.measuring import QUICK  # noqa: E402
from sightbox.benchmark.ways import bench  # noqa: E402
from sightbox.classifier import Classifier  # noqa: E402
from sightbox.store import Store  # noqa: E402

DOCS = TESTS.parent / "docs"
ENDINGS = {"en": ".png", "zh": ".zh-CN.png"}
COINS = PHOTOS / "coins.png"
LAPTOP: ViewportSize = {"width": 1280, "height": 800}
WALL: ViewportSize = {"width": 1920, "height": 1080}
TALL: ViewportSize = {"width": 1280, "height": 1500}
PATIENCE_MS = 30_000

FLAT_COLOURS = 8
"""So many of a picture's commonest colours stay as they are: those of the page itself."""


def capture_page(page: Page) -> bytes:
    """Returns the page with two recognised photos, as a person sees it."""
    # One after the other, so that neither waits for its turn.
    for count, photo in enumerate((COFFEE, CHELSEA), start=1):
        choose(page, photo)
        expect(cards(page, "done")).to_have_count(count)
    return page.screenshot(full_page=True)


def capture_what_if(page: Page) -> bytes:
    """Returns the view that changes a picture, with the cup of coffee covered."""
    choose(page, COFFEE)
    cards(page, "done").locator(".what-if").click()
    view = page.locator("#whatif")
    view.locator("#whatif-brush-size input").fill("50")
    box = view.locator("canvas").bounding_box()
    assert box is not None
    for across, down in ((0.47, 0.3), (0.47, 0.42)):
        page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])
        page.mouse.down()
    page.mouse.up()
    expect(view.locator("table")).to_have_attribute("aria-busy", "false")
    expect(view.locator("#whatif-sent")).to_contain_text("PNG")
    return view.screenshot()


def capture_compare(page: Page) -> bytes:
    """Returns the page that compares, with three photos, of which one divides the two sides."""
    for count, photo in enumerate((COFFEE, CHELSEA, COINS), start=1):
        choose(page, photo)
        expect(page.locator(".pair .difference svg:visible")).to_have_count(count)
    return page.screenshot(full_page=True)


def capture_kiosk(page: Page) -> bytes:
    """Returns the view for exhibitions with its answer, on a wall screen."""
    choose(page, COFFEE)
    expect(page.locator('#visit[data-state="done"]')).to_be_visible()
    # Without the frame around the button that has the focus.
    page.evaluate("document.activeElement.blur()")
    return page.screenshot()


def capture_benchmark(page: Page) -> bytes:
    """Returns the top of the page of the benchmark, with the report of a short run."""
    return page.screenshot()


@dataclass(frozen=True)
class View:
    """Something to take a picture of.

    Attributes:
        address: Where it is, below the server's address, with the parameters that it wants.
        capture: What brings the opened page into its state, and returns a PNG file.
        screen: Width and height in CSS pixels.
        scale: The picture's width for each of the screen's.
    """

    address: str
    capture: Callable[[Page], bytes]
    screen: ViewportSize = field(default_factory=LAPTOP.copy)
    scale: float = 1


VIEWS = {
    "page": View("/?", capture_page),
    "what-if": View("/?", capture_what_if),
    "compare": View(
        "/compare?left_preprocessing=exact&right_preprocessing=nearest&top_k=3&", capture_compare
    ),
    "kiosk": View("/kiosk?", capture_kiosk, WALL, 2 / 3),
    "benchmark": View("/benchmark?", capture_benchmark, TALL),
}
"""By the names of their pictures."""


def reduce_colours(picture: Image.Image) -> Image.Image:
    """Returns an RGB picture with 256 colours, dithered: a third of the file, and little lost."""
    pixels = np.asarray(picture)
    colours, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    flat = colours[np.argsort(counts)[-FLAT_COLOURS:]]
    places = [(pixels == colour).all(axis=-1) for colour in flat]
    others = Image.fromarray(pixels[~np.any(places, axis=0)][None])
    mixed = others.quantize(256 - FLAT_COLOURS, kmeans=1).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*flat.ravel().tolist(), *mixed])
    reduced = picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    for number, place in enumerate(places):
        reduced.paste(number, mask=Image.fromarray(place))
    return reduced


def main() -> None:
    """Takes a picture of each view in each language, with the embedded model."""
    expect.set_options(timeout=PATIENCE_MS)
    with TemporaryDirectory() as folder:
        home = Path(folder)
        store = Store(home)
        keep_last(home, bench(store, store.prepare_embedded(), QUICK))
        _take_pictures(home)


def _take_pictures(home: Path) -> None:
    with (
        Classifier(home=home) as classifier,
        serving(classifier, home=home) as url,
        sync_playwright() as playwright,
        launch(playwright) as browser,
    ):
        classifier.classify(CHELSEA)  # the first one is slower
        for (name, view), (language, ending) in product(VIEWS.items(), ENDINGS.items()):
            page = browser.new_page(viewport=view.screen, reduced_motion="reduce")
            page.goto(f"{url}{view.address}lang={language}")
            page.wait_for_selector("html[data-ready]", state="attached")
            picture = ImageOps.scale(_read(view.capture(page)), view.scale)
            reduce_colours(picture).save(DOCS / f"{name}{ending}", optimize=True)


def _read(file: bytes) -> Image.Image:
    return Image.open(io.BytesIO(file)).convert("RGB")


if __name__ == "__main__":
    main()
