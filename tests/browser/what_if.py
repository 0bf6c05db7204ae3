"""What a person does in the view that changes a picture, and what a test looks at."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from browser.gestures import (
    CHELSEA,
    cards,
    choose,
)
from serving import ask
from sightbox.web.pages import load_catalogue

GREY = (128, 128, 128)
MINUS = "\u2212"

# Keeps what the page sends, and how many questions were under way at once at most.
WATCH = """
window.sent = [];
window.most = 0;
let open = 0;
const send = XMLHttpRequest.prototype.send;
XMLHttpRequest.prototype.send = function (body) {
  if (body instanceof Blob) {
    window.sent.push(body);
    open += 1;
    window.most = Math.max(window.most, open);
    this.addEventListener("readystatechange", () => { open -= Number(this.readyState === 4); });
  }
  return send.call(this, body);
};
"""
READ = """async (place) => {
  const bytes = new Uint8Array(await window.sent.at(place).arrayBuffer());
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}"""


def words(key: str, language: str = "en") -> str:
    """Returns a text of the page or of the view, its placeholders unfilled."""
    return (load_catalogue(language) | load_catalogue(language, "whatif"))[key]


def view_of(page: Page) -> Locator:
    return page.locator("#whatif")


def settle(page: Page) -> None:
    """Waits until the scores are those of the picture that is shown."""
    expect(view_of(page).locator("table")).to_have_attribute("aria-busy", "false")


def ask_what_if(page: Page, photo: Path = CHELSEA) -> Locator:
    """Has a photo recognised, and opens the view for it."""
    choose(page, photo)
    expect(cards(page, "done").first.locator(".name")).to_have_text(photo.name)
    cards(page).first.locator(".what-if").click()
    expect(view_of(page)).to_be_visible()
    settle(page)
    return view_of(page)


def sent(page: Page, place: int = -1) -> bytes:
    """Returns what the page sent, the last by default."""
    return base64.b64decode(page.evaluate(READ, place))


def sent_picture(page: Page, place: int = -1) -> Image.Image:
    return Image.open(io.BytesIO(sent(page, place))).convert("RGB")


def chelsea() -> np.ndarray:
    """Returns the pixels of the photo, uint8 [H, W, 3]."""
    with Image.open(CHELSEA) as photo:
        return np.asarray(photo.convert("RGB"))


def point(page: Page, across: float, down: float) -> tuple[float, float]:
    """Returns where on the screen a place of the picture is, both from 0 to 1."""
    box = view_of(page).locator("canvas").bounding_box()
    assert box is not None
    return box["x"] + across * box["width"], box["y"] + down * box["height"]


def drag(page: Page, *places: tuple[float, float]) -> None:
    page.mouse.move(*point(page, *places[0]))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*point(page, *place), steps=4)
    page.mouse.up()
    settle(page)


def slide(page: Page, name: str, value: int) -> None:
    view_of(page).locator(f"input[name={name}]").fill(str(value))
    settle(page)


def rows(page: Page) -> dict[int, dict[str, str]]:
    """Returns what the table says, by class."""
    found = {}
    for line in view_of(page).locator("tbody tr").all():
        cells = {
            name: line.locator(f".{name}").inner_text() for name in ("before", "now", "points")
        }
        new = {"fresh": str(line.locator(".fresh").is_visible())}
        found[int(line.get_attribute("data-class") or -1)] = cells | new
    return found


def scores(url: str, picture: bytes, **query: object) -> dict[int, float]:
    """Asks the server itself; returns the score of each class, best first."""
    more = "".join(f"&{name}={value}" for name, value in query.items())
    status, _, answer = ask(url, f"/v1/classify?top_k=1000{more}", picture)
    assert status == 200, answer
    return {one["index"]: one["score"] for one in answer["predictions"]}


def points(change: float) -> str:
    rounded = round(100 * change, 1)
    if rounded == 0:
        return "0.0"
    return f"{'+' if rounded > 0 else MINUS}{abs(rounded):.1f}"


def expected_rows(before: dict[int, float], now: dict[int, float], count: int) -> dict[int, Any]:
    first, joined = list(before)[:count], list(now)[:count]
    return {
        index: {
            "before": f"{before[index]:.1%}",
            "now": f"{now[index]:.1%}",
            "points": points(now[index] - before[index]),
            "fresh": str(index not in first),
        }
        for index in dict.fromkeys(first + joined)
    }
