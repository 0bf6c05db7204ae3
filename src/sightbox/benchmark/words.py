"""What a table of words is made of, in English and in Chinese."""

from dataclasses import dataclass, field

Words = dict[str, str]
"""A text in each language."""

NONE = "–"
"""What stands where there is no figure."""


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
        name: What it is called in programs.
        title: Its title in each language.
        headings: Of its columns.
        rows: Its cells; they need no language.
        notes: Sentences below it.
    """

    name: str
    title: Words
    headings: list[Words]
    rows: list[tuple[str, ...]]
    notes: list[Words] = field(default_factory=list)


def words(english: str, chinese: str) -> Words:
    """Returns a text in both languages."""
    return {"en": english, "zh": chinese}
