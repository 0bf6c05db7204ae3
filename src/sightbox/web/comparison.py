"""The page that compares: two models or variants side by side on the same pictures.

It has texts, scripts and a sheet of its own, so that the first page stays light. It asks
``/v1/classify`` once for each side; the server knows nothing of the comparison.
"""

from flask import Blueprint, Response

from sightbox.web.pages import SAMPLES, choose_language, render_page

TEXTS = "compare"
"""The folder of the page's own texts, beside those that it shares with the first page."""

SCRIPTS = (
    "js/announce", "js/api", "js/elements", "js/folder", "js/handover", "js/hint", "js/i18n",
    "js/intake", "js/model_choice", "js/patience", "js/pause", "js/predictions", "js/preview",
    "js/problem", "js/queue", "js/report", "js/samples", "js/settings", "js/status", "js/token",
    "js/unlock", "js/upload", "compare/difference", "compare/export", "compare/form",
    "compare/pairs", "compare/row", "compare/summary", "compare/ways",
)  # fmt: skip
"""The modules besides the one that joins them: those of the first page, and its own."""

comparison = Blueprint("comparison", __name__)


@comparison.get("/compare")
def compare() -> Response:
    """Serves the page in the reader's language."""
    return render_page("compare.html", choose_language(), TEXTS, samples=SAMPLES, scripts=SCRIPTS)
