"""The table of settings as a page of the documentation."""

from typing import Any

from sightbox.settings_table import Settings


def settings_page() -> str:
    """Returns the table of settings as a Markdown page."""
    rows = [
        "# Settings",
        "",
        "Each setting comes from the command line (`--port 9000`), else from the environment",
        "(`SIGHTBOX_PORT=9000`), else from the file `sightbox.toml` (`port = 9000`), else it is",
        "the default. `SIGHTBOX_CONFIG` names another file; `sightbox info` shows where it is",
        "looked for. An empty variable counts as not given. An unknown name or a bad value stops",
        "the start with a hint. This page is generated: `make docs`.",
        "",
        "| name | type | default | range | unit | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for name, schema in Settings.model_json_schema()["properties"].items():
        rows.append(_row(name, schema))
    return "\n".join(rows) + "\n"


def _row(name: str, schema: dict[str, Any]) -> str:
    options: list[dict[str, Any]] = schema.get("anyOf", [schema])
    kind = next(option for option in options if option.get("type") != "null")
    limits = [
        f"{sign} {kind[key]:,}"
        for key, sign in (
            ("minimum", "≥"),
            ("exclusiveMinimum", ">"),
            ("maximum", "≤"),
            ("minLength", "≥"),
        )
        if key in kind
    ]
    if "enum" in kind:
        limits = [f"`{choice}`" for choice in kind["enum"]]
    default = schema.get("default")
    shown = "" if default in (None, [], ()) else f"`{str(default).lower()}`"
    cells = (
        f"`{name}`",
        str(kind["type"]),
        shown,
        ", ".join(limits),
        str(schema.get("unit", "")),
        str(schema["description"]),
    )
    return f"| {' | '.join(cells)} |"
