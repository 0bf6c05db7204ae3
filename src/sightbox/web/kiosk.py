"""The view for exhibitions: large, one picture at a time, and back to the start by itself.

It is a page of its own, not a mode of the first one: it loads only what it shows, can be kept as a
browser's start page, and neither page has to ask which of the two it is.
"""

from flask import Blueprint, Response

from sightbox.web.pages import SAMPLES, choose_language, render_page

TEXTS = "kiosk"
"""The folder of the page's own texts, beside those that it shares with the first page."""

SCRIPTS = (
    "js/announce", "js/api", "js/camera", "js/elements", "js/hint", "js/i18n", "js/lens",
    "js/patience", "js/pause", "js/predictions", "js/preview", "js/problem", "js/samples",
    "js/settings", "js/status", "js/token", "js/unlock", "js/upload", "js/verdict",
    "lesson/intake", "kiosk/full_screen", "kiosk/idle",
)  # fmt: skip
"""The modules besides the one that joins them: those of other pages, and its own."""

kiosk = Blueprint("kiosk", __name__)


@kiosk.get("/kiosk")
def view() -> Response:
    """Serves the page in the reader's language."""
    return render_page("kiosk.html", choose_language(), TEXTS, samples=SAMPLES, scripts=SCRIPTS)
