"""Draws the icons of the app from ``icon.svg``: ``make icons``."""

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser.chromium import launch
from sightbox.web.assets import FOLDER

COLOURS = 64
"""Enough for the edges of three flat colours."""

ROUND, SQUARE = 'rx="8"', 'rx="0"'
"""A system that masks the icon brings its own corners; the drawing lies within the safe zone, four
fifths of the width (Web Application Manifest, section 1.7.3)."""


ICONS = {"icon-192.png": 192, "icon-512.png": 512, "maskable-512.png": 512}
"""The files, and their widths in pixels."""


def draw(browser: Browser, name: str) -> Image.Image:
    """Returns an icon as RGBA."""
    drawing = (FOLDER / "icon.svg").read_text("utf-8")
    assert ROUND in drawing
    if name.startswith("maskable"):
        drawing = drawing.replace(ROUND, SQUARE)
    page = browser.new_page(viewport={"width": ICONS[name], "height": ICONS[name]})
    page.set_content(f"<style>body {{ margin: 0 }} svg {{ display: block }}</style>{drawing}")
    picture = page.screenshot(omit_background=True)
    page.close()
    return Image.open(io.BytesIO(picture)).convert("RGBA")


def main() -> None:
    """Writes the icons."""
    with sync_playwright() as playwright, launch(playwright) as browser:
        for name in ICONS:
            few = draw(browser, name).quantize(COLOURS, Image.Quantize.FASTOCTREE)
            few.save(FOLDER / "icons" / name, optimize=True)


if __name__ == "__main__":
    main()
