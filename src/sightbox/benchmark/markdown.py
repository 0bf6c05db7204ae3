"""The report as Markdown, for documents."""

from collections.abc import Sequence

from sightbox.benchmark.report import Json
from sightbox.benchmark.tables import tables
from sightbox.benchmark.words import Table

MARKED = {
    "en": "Not to be quoted as it is: the last part says why.",
    "zh": "请勿直接引用，原因见最后一部分。",
}


def to_markdown(report: Json, language: str = "en") -> str:
    """Returns the report as Markdown (GitHub's tables), without a heading of its own.

    Args:
        report: The report.
        language: ``en`` or ``zh``.
    """
    told = ", ".join(f"{name} {value}" for name, value in report["circumstances"].items())
    head = f"{report['date']}: {report['machine']['name']}, {report['machine']['system']}; {told}."
    if report["marks"]:
        head += f"\n\n**{MARKED[language]}**"
    parts = [head, *(_table(table, language) for table in tables(report))]
    return "\n\n".join(parts) + "\n"


def _table(table: Table, language: str) -> str:
    lines = [f"### {table.title[language]}", ""]
    if table.rows:
        lines.append(_line([heading[language] for heading in table.headings]))
        lines.append(_line(["---", *["---:"] * (len(table.headings) - 1)]))
        lines += [_line(row) for row in table.rows]
        lines.append("")
    lines += [f"- {_escaped(note[language])}" for note in table.notes]
    return "\n".join(lines).rstrip()


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_escaped, cells))} |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")
