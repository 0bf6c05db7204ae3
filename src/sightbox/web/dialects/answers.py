"""What the answers of all dialects have in common."""

from flask import Response, current_app

from sightbox.schema import Json, json_to_bytes

DIGITS = 6
"""Digits of a score behind the point, as in `sightbox.schema`."""


def json_response(value: Json | list[Json], status: int = 200) -> Response:
    """Returns JSON as a response."""
    body = json_to_bytes(value)
    return current_app.response_class(body, status, mimetype="application/json")


def sentence(problem: Json) -> str:
    """Returns what a problem detail tells, and what to do about it, as one text."""
    return " ".join(filter(None, (problem["detail"], problem.get("hint"))))
