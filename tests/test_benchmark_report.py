"""The forms of the report: page and Markdown."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

from sightbox.benchmark.markdown import to_markdown
from sightbox.benchmark.page import benchmark_page
from sightbox.benchmark.probe import Way
from sightbox.benchmark.report import Json, read_report
from simulated import Machine, Simulated, measured, reported, small_home


class Page(HTMLParser):
    """Counts elements and collects texts by language."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.texts: dict[str | None, list[str]] = {}
        self._language: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = dict(attrs)
        self.addresses += [str(named[name]) for name in ("src", "href") if name in named]
        if tag == "span":
            self._language = named.get("lang")

    def handle_endtag(self, tag: str) -> None:
        if tag == "span":
            self._language = None

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._language, []).append(data)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Json:
    """Two ways that work and one that does not, on a simulated machine."""
    home = small_home(tmp_path_factory.mktemp("shelf"))
    machine = Machine(1)
    other = Simulated(home, machine, Way("dummy", "fp32", "elsewhere"), 9.0)
    report = reported(home, measured(machine, Simulated(home, machine), other))
    missing = {"name": "pytorch fp32 on mps", "backend": "pytorch", "variant": "fp32"}
    report["rows"].append(missing | {"device": "mps", "problem": "<b>No MPS.", "marks": []})
    return report


def test_page_needs_nothing_beside_it(report: Json) -> None:
    text = benchmark_page(report)
    page = Page(text)
    assert "script" not in page.tags
    assert not page.addresses
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "<b>No MPS." not in text
    assert "&lt;b&gt;No MPS." in text


def test_page_draws_distribution_curve_and_stages(report: Json) -> None:
    page = benchmark_page(report)
    tags = Page(page).tags
    assert tags.count("polyline") == 2
    assert tags.count("circle") == sum(len(row["batches"]) for row in report["rows"][:2])
    counts = [int(part.split("<")[0]) for part in page.split("<title>")[1:] if part[0].isdigit()]
    assert sum(counts) == 200, "each call is in a bar of the distributions"
    for stage in ("decode", "preprocess", "queue", "infer", "rest"):
        assert page.count(f"<title>{stage}: ") == 2


def test_page_says_everything_in_both_languages(report: Json) -> None:
    texts = Page(benchmark_page(report)).texts
    assert len(texts["en"]) == len(texts["zh"]) > 40
    plain = {"p90", "p99", "MB", "95% 区间"}
    chinese = [text for text in texts["zh"] if text not in plain]
    assert all(any("一" <= letter <= "鿿" for letter in text) for text in chinese)
    assert not any("一" <= letter <= "鿿" for text in texts["en"] for letter in text)


def test_quoted_rows_are_marked_as_quoted(report: Json) -> None:
    assert benchmark_page(report).count('<tr class="quoted">') == 6
    for language, word in (("en", "quoted, not measured here"), ("zh", "引用数据，非此处实测")):
        assert f"\\* {word}" in to_markdown(report, language)


def test_markdown_has_tables_of_even_rows(report: Json) -> None:
    lines = [line for line in to_markdown(report).splitlines() if line.startswith("|")]
    tables: dict[int, int] = {}
    for line in lines:
        tables[line.count("|")] = tables.get(line.count("|"), 0) + 1
    assert len(lines) > 15
    assert all(count >= 3 for count in tables.values())
    assert "pytorch fp32 on mps, not measured" in to_markdown(report)


def test_marked_run_says_so_first(report: Json) -> None:
    mark = {"code": "busy", "en": "It was busy.", "zh": "很忙。"}
    page = benchmark_page(report | {"marks": [mark]})
    assert page.index("It was busy.") < page.index("ms a picture")
    assert 'class="marks"' not in benchmark_page(report)
    document = to_markdown(report | {"marks": [mark]})
    assert document.index("Not to be quoted") < document.index("###")
    assert "Not to be quoted" not in to_markdown(report)


def test_report_without_a_right_way_is_a_page_too(report: Json) -> None:
    nothing = report | {"rows": report["rows"][2:], "fastest": None, "chosen": "x"}
    assert "NVIDIA A100" in benchmark_page(nothing)
    assert "NVIDIA A100" in to_markdown(nothing)


def test_report_in_the_documents_is_that_of_its_figures() -> None:
    root = Path(__file__).parents[1]
    kept = read_report(root / "benchmarks" / "results" / "bench.json")
    page = (root / "docs" / "benchmarks.md").read_text("utf-8")
    assert to_markdown(kept) in page, "run: make docs"
