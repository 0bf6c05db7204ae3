"""Makes the pictures of the page for the README files: ``make screenshots``."""

import io
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from browser.chromium import launch  # noqa: E402 - found on the path above
from browser.gestures import CHELSEA, COFFEE, cards, choose  # noqa: E402
from serving import serving  # noqa: E402
from sightbox.classifier import Classifier  # noqa: E402
from sightbox.store import Store  # noqa: E402

DOCS = TESTS.parent / "docs"
PICTURES = {"en": "page.png", "zh": "page.zh-CN.png"}

FLAT_COLOURS = 8
"""So many of a picture's commonest colours stay as they are: those of the page itself."""


def capture(browser: Browser, url: str, language: str) -> Image.Image:
    """Returns the page with two recognised photos, as a person sees it."""
    page = browser.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    page.goto(f"{url}/?lang={language}")
    # One after the other, so that neither waits for its turn.
    for count, photo in enumerate((COFFEE, CHELSEA), start=1):
        choose(page, photo)
        expect(cards(page, "done")).to_have_count(count)
    return Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")


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
    """Takes one picture for each language, with the embedded model."""
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
        for language, name in PICTURES.items():
            picture = reduce_colours(capture(browser, url, language))
            picture.save(DOCS / name, optimize=True)


if __name__ == "__main__":
    main()
