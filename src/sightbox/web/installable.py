"""What makes the page an app of its own: its manifest, and what it shows while the box is off.

``static/service-worker.js`` keeps the latter in the browser and brings it up.
"""

from flask import Blueprint, Response, url_for

from sightbox.schema import json_to_bytes
from sightbox.web.encoding import Content, answer_with
from sightbox.web.pages import (
    LANGUAGES,
    choose_language,
    ground_colours,
    make_translator,
    render_page,
)

MANIFEST = "application/manifest+json"

ICONS = (
    ("icon.svg", "any", "image/svg+xml", "any"),
    ("icons/icon-192.png", "192x192", "image/png", "any"),
    ("icons/icon-512.png", "512x512", "image/png", "any"),
    ("icons/maskable-512.png", "512x512", "image/png", "maskable"),
)
"""File, size, type and purpose (Web Application Manifest, section 1.7); made by ``make icons``."""

installable = Blueprint("installable", __name__)


@installable.get("/manifest.webmanifest")
def manifest() -> Response:
    """Describes the app in the reader's language."""
    language = choose_language()
    t = make_translator(language)
    described = {
        "id": "/",
        "name": t("page.title"),
        "short_name": "Sightbox",
        "description": t("page.description"),
        "lang": LANGUAGES[language],
        "start_url": "/",
        "scope": "/",
        "display": "standalone",
        "background_color": ground_colours()[0],
        "theme_color": ground_colours()[0],
        "icons": [
            {
                "src": url_for("static", filename=name),
                "sizes": size,
                "type": media_type,
                "purpose": purpose,
            }
            for name, size, media_type, purpose in ICONS
        ],
        "shortcuts": [{"name": t("lesson.here"), "url": url_for("lesson.how_it_works")}],
    }
    response = answer_with(Content(json_to_bytes(described), MANIFEST))
    response.content_language.add(LANGUAGES[language])
    response.vary.add("Accept-Language")
    response.cache_control.no_cache = True
    return response


@installable.get("/offline")
def offline() -> Response:
    """Serves what a browser keeps for when the box is off: the reader's language comes first."""
    language = choose_language()
    order = sorted(LANGUAGES, key=lambda code: code != language)
    return render_page(
        "offline.html", language, translators={code: make_translator(code) for code in order}
    )
