"""The web page: one template, and one catalogue of texts for each language.

The server renders the page in the reader's language, so that no untranslated text flashes up. The
page's scripts fetch the same catalogues when the reader switches language.
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

from flask import Blueprint, Response, make_response, render_template, request

import sightbox
from sightbox.web.service import current_service

CATALOGUES = Path(__file__).parent / "static" / "i18n"

# Language code -> the tag for `<html lang>` (BCP 47). The first language is the fallback.
LANGUAGES = {"en": "en", "zh": "zh-Hans"}

pages = Blueprint("pages", __name__)


@cache
def load_catalogue(language: str, part: str = "") -> dict[str, str]:
    """Reads the texts of one language, key -> text; a text may hold ``{placeholders}``.

    Args:
        language: One of `LANGUAGES`.
        part: The folder of a page with texts of its own; the first page's when empty.

    Raises:
        FileNotFoundError: There is no catalogue for this language.
    """
    path = CATALOGUES / part / f"{language}.json"
    texts: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return texts


def choose_language() -> str:
    """Returns the language for this request: ``?lang=``, else ``Accept-Language``, else English."""
    asked = request.args.get("lang", "")
    if asked in LANGUAGES:
        return asked
    # Werkzeug's best_match prefers an exact but later "en" to an earlier "zh-CN", so we walk the
    # reader's own order by primary tag.
    for tag, quality in request.accept_languages:
        primary = tag.lower().partition("-")[0]
        if quality > 0 and primary in LANGUAGES:
            return primary
    return next(iter(LANGUAGES))


def make_translator(language: str, part: str = "", **known: object) -> Callable[[str], str]:
    """Returns a function key -> text that fills the ``known`` placeholders.

    The texts of a `part` (see `load_catalogue`) come beside those of the first page. The function
    raises ``KeyError`` for a key that neither has.
    """
    catalogue = load_catalogue(language) | (load_catalogue(language, part) if part else {})

    def translate(key: str) -> str:
        text = catalogue[key]
        for name, value in known.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text

    return translate


@pages.get("/")
def index() -> Response:
    """Serves the page in the reader's language."""
    language = choose_language()
    max_body_mb = current_service().settings.max_body_mb
    translate = make_translator(language, mb=f"{max_body_mb:g}")
    return render_page("index.html", language, t=translate, max_body_mb=max_body_mb)


def render_page(template: str, language: str, **values: object) -> Response:
    """Returns a page in one of `LANGUAGES`; `values` are what its template uses."""
    body = render_template(
        template,
        language=language,
        languages=LANGUAGES,
        version=sightbox.__version__,
        **values,
    )
    response = make_response(body)
    response.content_language.add(LANGUAGES[language])
    response.vary.add("Accept-Language")
    response.cache_control.no_cache = True
    return response
