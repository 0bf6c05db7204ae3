"""What a person does on the page, and what a test looks at."""

import base64
from pathlib import Path

import skimage
from playwright.sync_api import Locator, Page, Request

from sightbox.web.assets import load_assets
from sightbox.web.pages import load_catalogue

PHOTOS = Path(skimage.__file__).parent / "data"
CHELSEA, COFFEE, ROCKET = (PHOTOS / name for name in ("chelsea.png", "coffee.png", "rocket.jpg"))
CLASSIFY = "**/v1/classify*"
HOUR_S = 3600

# Builds a DataTransfer from [name, type, base64] triples and fires an event that carries it.
FIRE = """([kind, files]) => {
  const data = new DataTransfer();
  for (const [name, type, text] of files) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    data.items.add(new File([bytes], name, { type }));
  }
  const event = kind === "paste"
    ? new ClipboardEvent(kind, { clipboardData: data, bubbles: true, cancelable: true })
    : new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}"""

Files = list[tuple[str, bytes]]


def words(key: str, language: str = "en") -> str:
    """Returns a text of the catalogue, its placeholders unfilled."""
    return load_catalogue(language)[key]


def read(*paths: Path) -> Files:
    """Returns the names and the bytes of files."""
    return [(path.name, path.read_bytes()) for path in paths]


def fire(page: Page, kind: str, files: Files) -> None:
    """Drops or pastes files on the page, or drags them over it; `kind` is the event."""
    triples = [[name, "image/png", base64.b64encode(data).decode()] for name, data in files]
    page.evaluate(FIRE, [kind, triples])


def choose(page: Page, *paths: Path) -> None:
    """Chooses files as the file dialog would."""
    page.locator("#chooser").set_input_files(paths)


def cards(page: Page, state: str = "") -> Locator:
    """Finds all cards, or those in one state."""
    return page.locator(f'.card[data-state="{state}"]' if state else ".card")


def names(page: Page) -> list[str]:
    """Returns the file names on the cards, from the top."""
    return page.locator(".card .name").all_text_contents()


def collect_questions(page: Page) -> list[Request]:
    """Returns a list that grows with each picture that the page sends."""
    found: list[Request] = []

    def note(request: Request) -> None:
        if "/v1/classify" in request.url:
            found.append(request)

    page.on("request", note)
    return found


def module(name: str) -> str:
    """Returns the address under which the page itself has one of its modules."""
    return f"/static/{load_assets().version}/js/{name}.js"


def switch_language(page: Page, language: str) -> None:
    """Clicks the link of a language."""
    page.locator(f'.languages a[data-language="{language}"]').click()


def stop_clock(page: Page) -> None:
    """Stops the page's time, so that nothing but ``page.clock.run_for`` moves it.

    A clock that is only installed goes on by itself: on a slow machine, past what a test expects.
    """
    page.clock.install(time=0)
    page.clock.pause_at(HOUR_S)
