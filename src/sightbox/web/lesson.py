"""The page that teaches: a picture's way through a network, step by step.

It has texts, scripts and a sheet of its own, so that the first page stays light.
"""

from flask import Blueprint, Response, make_response, render_template

import sightbox
from sightbox.web.pages import LANGUAGES, choose_language, make_translator
from sightbox.web.service import current_service

TEXTS = "lesson"
"""The folder of the page's own texts, beside those that it shares with the first page."""

DRAWINGS = ("balloon", "clock", "light")
"""Drawings of ours that the embedded network names right, for those who have no photo at hand."""

SCRIPTS = ("ask", "charts", "intake", "steps")
"""The page's own modules besides the one that joins them."""

SHARED_SCRIPTS = ("announce", "api", "i18n", "token", "unlock")
"""What it takes of the first page's."""

lesson = Blueprint("lesson", __name__)


@lesson.get("/how-it-works")
def how_it_works() -> Response:
    """Serves the page in the reader's language."""
    language = choose_language()
    max_body_mb = current_service().settings.max_body_mb
    known = {"mb": f"{max_body_mb:g}"}
    body = render_template(
        "how-it-works.html",
        language=language,
        languages=LANGUAGES,
        max_body_mb=max_body_mb,
        drawings=DRAWINGS,
        scripts=[f"js/{name}.js" for name in SHARED_SCRIPTS]
        + [f"lesson/{name}.js" for name in SCRIPTS],
        t=make_translator(language, TEXTS, **known),
        version=sightbox.__version__,
    )
    response = make_response(body)
    response.content_language.add(LANGUAGES[language])
    response.vary.add("Accept-Language")
    response.cache_control.no_cache = True
    return response
