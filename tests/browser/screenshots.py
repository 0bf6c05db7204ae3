"""Makes the pictures of the page for the README files: ``make screenshots``."""

import io
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from browser.chromium import launch  # noqa: E402 - found on the path above
from browser.gestures import CHELSEA, COFFEE, cards, choose  # noqa: E402
from serving import serving  # noqa: E402
from sightbox.classifier import Classifier  # noqa: E402
from sightbox.store import Store  # noqa: E402

DOCS = TESTS.parent / "docs"
PICTURES = {"en": "{}.png", "zh": "{}.zh-CN.png"}

SCREEN: ViewportSize = {"width": 1280, "height": 800}

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


VIEWS: dict[str, Callable[[Page], bytes]] = {"page": capture_page, "what-if": capture_what_if}


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
    with TemporaryDirectory() as folder:
        home = Path(folder)
        Store(home).prepare_embedded()
        _take_pictures(home)


def _take_pictures(home: Path) -> None:
    with (
        Classifier(home=home) as classifier,
        serving(classifier, home=home) as url,
        sync_playwright() as playwright,
        launch(playwright) as browser,
    ):
        classifier.classify(CHELSEA)  # the first one is slower
        for (name, capture), (language, form) in product(VIEWS.items(), PICTURES.items()):
            page = browser.new_page(viewport=SCREEN, reduced_motion="reduce")
            page.goto(f"{url}/?lang={language}")
            picture = Image.open(io.BytesIO(capture(page))).convert("RGB")
            reduce_colours(picture).save(DOCS / form.format(name), optimize=True)


if __name__ == "__main__":
    main()
