"""``sightbox bench compare`` and ``history``: reports side by side."""

from pathlib import Path

from sightbox.benchmark.comparing import Comparison, Verdict, compare_reports
from sightbox.benchmark.history import history_page
from sightbox.benchmark.report import Json, read_report
from sightbox.benchmark.tables import headline
from sightbox.cli.bench import write
from sightbox.cli.screen import console, print_rows
from sightbox.errors import RequestError

HEADINGS = ("way", "figure", "before", "now", "times", "interval", "verdict")

PAST = ("date", "machine", "model", "way", "ms a picture", "images/s in batches", "MB", "marks")


def compare(first: Path, second: Path) -> int:
    """Prints what changed from one report to the other; returns 1 on a regression, else 0.

    Raises:
        RequestError: A file is no report.
    """
    reports = [read_report(path) for path in (first, second)]
    found = compare_reports(*reports)
    screen = console()
    print_rows(screen, [_cells(each) for each in found.verdicts], HEADINGS)
    for path, report in zip((first, second), reports, strict=True):
        for mark in report["marks"]:
            screen.print(f"{path}: {mark['en']}")
    for difference in found.differing:
        screen.print(f"Not the same: {difference}.")
    screen.print(_conclusion(found))
    return 1 if found.regressed else 0


def history(folder: Path, html: Path | None) -> int:
    """Prints a line for each report of a folder, the oldest first.

    Args:
        folder: Where the reports are.
        html: File for their figures over time, as a page with plots.

    Raises:
        RequestError: There is no report, or the page cannot be written.
    """
    screen = console()
    found: list[Json] = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(read_report(path))
        except RequestError as error:
            screen.print(f"Left out: {error}")
    if not found:
        raise RequestError(
            f"There is no report in {folder}.", "Keep some there: sightbox bench --json."
        )
    found.sort(key=lambda report: str(report["date"]))
    print_rows(screen, [_past(report) for report in found], PAST)
    if html is not None:
        write(html, history_page(found))
    return 0


def _cells(each: Verdict) -> tuple[str, ...]:
    if each.figure == "memory":
        told = [f"{(value or 0) / 1e6:.0f} MB" for value in (each.before, each.after)]
    else:
        told = ["" if value is None else f"{value:.2f} ms" for value in (each.before, each.after)]
    changed = each.change
    times = "" if changed is None else f"{changed.ratio:.3f}"
    interval = "" if changed is None else f"{changed.low:.3f} to {changed.high:.3f}"
    return each.way, each.figure, *told, times, interval, each.verdict


def _conclusion(found: Comparison) -> str:
    machine = f"The machine itself: {found.machine.ratio:.3f} times the time."
    if found.regressed:
        worse = [each for each in found.verdicts if each.is_regression]
        told = ", ".join(f"{each.way} {each.figure} {each.verdict}" for each in worse)
        return f"{machine} Worse: {told}."
    changed = [each for each in found.verdicts if each.verdict != "same"]
    if not changed:
        return f"{machine} Nothing changed beyond noise."
    return f"{machine} Nothing is worse beyond noise."


def _past(report: Json) -> tuple[str, ...]:
    head = (report["date"], report["machine"]["name"], report["model"])
    marks = ", ".join(mark["code"] for mark in report["marks"])
    row = headline(report)
    if row is None:
        return *head, "none", "", "", "", marks
    best = max((batch["images_per_second"] for batch in row["batches"]), default=0.0)
    memory = row["memory"]["steady"]
    told = "" if memory is None else f"{memory / 1e6:.0f}"
    return *head, row["name"], f"{row['whole_ms']['median']:.2f}", f"{best:.0f}", told, marks
