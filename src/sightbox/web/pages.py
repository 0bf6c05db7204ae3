"""The web page: one template, and one catalogue of texts for each language.

The server renders the page in the reader's language, so that no untranslated text flashes up. The
page's scripts fetch the same catalogues when the reader switches language.
"""

import json
import re
from collections.abc import Callable
from functools import cache

from flask import Blueprint, Response, render_template, request

import sightbox
from sightbox.web.assets import FOLDER
from sightbox.web.encoding import Content, answer_with
from sightbox.web.forms import read_pictures
from sightbox.web.service import current_patience, current_service

CATALOGUES = FOLDER / "i18n"

# Language code -> the tag for `<html lang>` (BCP 47). The first language is the fallback.
LANGUAGES = {"en": "en", "zh": "zh-Hans"}

SCRIPTS = tuple(path.stem for path in sorted((FOLDER / "js").glob("*.js")))
"""The page's modules, which a browser fetches at once instead of one after the other."""

SAMPLES = ("balloon", "umbrella", "traffic-light", "clock")
"""Drawings of ours that the embedded model names right; it wavers between two kinds of clock."""

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


@cache
def ground_colours() -> tuple[str, str]:
    """Returns the page's ground, light and dark, as ``#rrggbb``."""
    light, dark = re.findall(r"--ground: (#\w+);", (FOLDER / "css/theme.css").read_text("utf-8"))
    return light, dark


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
    scripts = [f"js/{name}" for name in SCRIPTS if name != "main"]
    return render_page("index.html", choose_language(), scripts=scripts, samples=SAMPLES)


@pages.post("/")
def answer() -> Response:
    """Answers the form of browsers without JavaScript with a page."""
    language = choose_language()
    service, patience = current_service(), current_patience()
    settings = service.settings
    boundary = request.mimetype_params.get("boundary", "")
    pictures = read_pictures(request.stream, boundary, settings.max_parts, settings.max_text_kb)
    with service.using(None) as classifier:
        results = list(
            classifier.classify_many(
                pictures,
                top_k=settings.top_k,
                min_score=settings.min_score,
                timeout=patience.seconds,
                abandoned=patience.abandoned,
            )
        )
    known = load_catalogue(language)

    def error_key(code: str) -> str:
        return f"error.{code}" if f"error.{code}" in known else "error.unknown"

    return render_page("plain.html", language, results=results, error_key=error_key)


def render_page(template: str, language: str, part: str = "", **values: object) -> Response:
    """Returns a page.

    Args:
        template: Name of its template, which is given the settings and what translates, too.
        language: One of `LANGUAGES`.
        part: Where the page's own texts are; see `load_catalogue`.
        values: What else the template uses.
    """
    settings = current_service().settings
    body = render_template(
        template,
        language=language,
        languages=LANGUAGES,
        settings=settings,
        t=make_translator(language, part, mb=f"{settings.max_body_mb:g}"),
        version=sightbox.__version__,
        grounds=ground_colours(),
        **values,
    )
    response = answer_with(Content(body.encode(), "text/html"))
    response.content_language.add(LANGUAGES[language])
    response.vary.add("Accept-Language")
    response.cache_control.no_cache = True
    return response
