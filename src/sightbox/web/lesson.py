"""The page that teaches: a picture's way through a network, step by step.

It has texts, scripts and a sheet of its own, so that the first page stays light.
"""

from flask import Blueprint, Response

from sightbox.web.pages import SAMPLES, choose_language, render_page

TEXTS = "lesson"
"""The folder of the page's own texts, beside those that it shares with the first page."""

SCRIPTS = ("ask", "charts", "intake", "steps")
"""The page's own modules besides the one that joins them."""

SHARED_SCRIPTS = ("announce", "api", "elements", "hint", "i18n", "samples", "token", "unlock")
"""What it takes of the first page's."""

lesson = Blueprint("lesson", __name__)


@lesson.get("/how-it-works")
def how_it_works() -> Response:
    """Serves the page in the reader's language."""
    return render_page(
        "how-it-works.html",
        choose_language(),
        TEXTS,
        samples=SAMPLES,
        scripts=[f"js/{name}" for name in SHARED_SCRIPTS] + [f"lesson/{name}" for name in SCRIPTS],
    )
