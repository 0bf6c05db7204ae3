"""The report of an evaluation as one HTML file that needs nothing beside it."""

import base64
import io
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from sightbox.errors import SightboxError
from sightbox.image import DEFAULT_LIMITS
from sightbox.pictures import read_picture

TEMPLATE = files("sightbox") / "data" / "evaluation.html"

THUMBNAIL = 160
"""Longest side of a picture on the contact sheet, px."""

QUALITY = 80
"""JPEG quality of those pictures: 40 of them make about 300 kB."""

Json = dict[str, Any]


def evaluation_page(report: Json) -> str:
    """Returns the report of `sightbox.evaluation.findings_to_json` as a page.

    The worst mistakes are shown as small pictures; one that is no longer there by its name alone.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text("utf-8"))
    return template.render(report=report, thumbnail=_thumbnail)


def _thumbnail(path: str) -> str | None:
    """Returns a small picture as a ``data:`` address (RFC 2397)."""
    try:
        image = read_picture(path, DEFAULT_LIMITS, THUMBNAIL).pixels
    except SightboxError:
        # It could be read when it was evaluated; a report needs it no more.
        return None
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()
