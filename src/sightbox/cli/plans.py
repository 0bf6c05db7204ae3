"""The table of measured plans, as ``sightbox tune`` and ``sightbox info`` show it."""

from dataclasses import asdict

from sightbox.plan import GOALS, Row, Tuning
from sightbox.schema import Json

HEADINGS = ("images/s", "ms for one", "same as fp32", "best for", "plan")


def table(tuning: Tuning, least_agreement: float) -> list[tuple[str, ...]]:
    """Returns a row of cells for each plan, the fastest first."""
    return [_cells(row, goals) for row, goals in _fastest_first(tuning, least_agreement)]


def table_to_json(tuning: Tuning, least_agreement: float) -> list[Json]:
    """Returns the same as JSON values."""
    return [
        asdict(row) | {"best_for": goals} for row, goals in _fastest_first(tuning, least_agreement)
    ]


def _fastest_first(tuning: Tuning, least_agreement: float) -> list[tuple[Row, list[str]]]:
    best = {goal: tuning.best(goal, least_agreement) for goal in GOALS}
    rows = sorted(tuning.rows, key=lambda row: row.images_per_second, reverse=True)
    return [(row, [goal for goal in GOALS if best[goal] is row]) for row in rows]


def _cells(row: Row, goals: list[str]) -> tuple[str, ...]:
    if row.problem is not None:
        return "", "", "", "", f"{row.plan}: {row.problem}"
    agreement = "unknown" if row.agreement is None else f"{row.agreement:.1%}"
    speeds = (f"{row.images_per_second:.1f}", f"{row.latency_ms:.2f}")
    return *speeds, agreement, ", ".join(goals), str(row.plan)
