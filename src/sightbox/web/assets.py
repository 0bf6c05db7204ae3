"""The files of the page: kept in memory once they are asked for, at addresses that never change.

``/static/<version>/js/main.js`` names one state of the whole folder, so a browser keeps what it got
and never asks again. Modules, sheets and catalogues find each other by relative addresses and stay
within that state, without a build. ``/static/js/main.js`` is the file as the server has it now; a
browser asks each time whether its copy is still good.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask, Response
from werkzeug.exceptions import NotFound
from werkzeug.routing import BaseConverter

from sightbox.web.encoding import TAG_DIGITS, Content, answer_with, tag_of

FOLDER = Path(__file__).parent / "static"

ENDPOINT = "static"
"""What templates call the files: ``url_for("static", filename=...)``."""

TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
"""The media types, by what a file's name ends with. `mimetypes` would ask the machine, and that of
some Windows says that scripts are plain text, which no browser runs. Other files are not served."""

WORKER = "service-worker.js"
"""The file that may act for all pages, and not only for those beside it."""

YEAR = 365 * 24 * 60 * 60
"""In seconds; RFC 9111 has no "for ever"."""


@dataclass(frozen=True)
class Assets:
    """One state of the folder: its files by their names, and what names this state."""

    files: Mapping[str, Content]
    version: str


class VersionConverter(BaseConverter):
    """What may be a version in an address; no folder of ours is called so."""

    regex = f"[0-9a-f]{{{TAG_DIGITS}}}"


@cache
def load_assets() -> Assets:
    """Reads the folder, once: what is served agrees with its version even while files change."""
    files = {
        path.relative_to(FOLDER).as_posix(): Content(path.read_bytes(), TYPES[path.suffix])
        for path in sorted(FOLDER.rglob("*"))
        if path.suffix in TYPES
    }
    names = "\n".join(f"{name} {content.tag}" for name, content in files.items())
    return Assets(files, tag_of(names.encode()))


def install(app: Flask) -> None:
    """Serves the files from `app`, which must have no static folder of its own."""
    app.url_map.converters["version"] = VersionConverter
    app.add_url_rule("/static/<path:filename>", ENDPOINT, _serve)
    app.add_url_rule("/static/<version:version>/<path:filename>", ENDPOINT, _serve)
    app.url_defaults(_add_version)


def _serve(filename: str, version: str | None = None) -> Response:
    assets = load_assets()
    content = assets.files.get(filename)
    # A page of another version gets an error that it can tell, never a file that does not fit it.
    if content is None or version not in {None, assets.version}:
        raise NotFound
    response = answer_with(content)
    if filename == WORKER:
        response.headers["Service-Worker-Allowed"] = "/"
    if version is None:
        response.cache_control.no_cache = True
    else:
        response.cache_control.public = True
        response.cache_control.max_age = YEAR
        response.cache_control.immutable = True
    return response


def _add_version(endpoint: str, values: dict[str, Any]) -> None:
    if endpoint == ENDPOINT:
        values.setdefault("version", load_assets().version)
