"""What changed between two reports beyond noise."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sightbox.benchmark.report import Json, is_right
from sightbox.benchmark.statistics import Change, change, without

MEMORY = 0.15
"""Part by which memory must grow or shrink to be told; there are no samples of it."""

MEMORY_BYTES = 20 * 10**6
"""Bytes by which it must, at least."""

REGRESSIONS = frozenset({"slower", "larger", "broken", "wrong"})
"""Verdicts that make the command fail."""


@dataclass(frozen=True)
class Verdict:
    """What became of one figure of one way.

    Attributes:
        way: Name of the way.
        figure: What was compared: ``whole``, ``engine``, ``batch 8`` and so on, ``memory``,
            ``answers``; empty where the way as a whole is meant.
        verdict: ``same``, ``slower``, ``faster``, ``larger``, ``smaller``, ``broken`` (it was
            measured before and now fails), ``wrong`` (its answers were right before), ``mended``,
            ``gone`` or ``new`` (it is in one report alone).
        change: The ratio new / old with its interval, where there are samples.
        before: The old median, ms, or bytes.
        after: The new one.
    """

    way: str
    figure: str
    verdict: str
    change: Change | None = None
    before: float | None = None
    after: float | None = None

    @property
    def is_regression(self) -> bool:
        """Whether it makes the command fail."""
        return self.verdict in REGRESSIONS


@dataclass(frozen=True)
class Comparison:
    """Two reports side by side.

    Attributes:
        verdicts: One for each figure.
        machine: How the yardstick changed, which stands for the machine.
        differing: Circumstances that are not the same, in words.
    """

    verdicts: tuple[Verdict, ...]
    machine: Change
    differing: tuple[str, ...]

    @property
    def regressed(self) -> bool:
        """Whether something got worse beyond noise."""
        return any(each.is_regression for each in self.verdicts)


def compare_reports(before: Json, after: Json) -> Comparison:
    """Compares two reports of `sightbox.benchmark.report.make_report`.

    A way is slower, or faster, where its median surely changed, by `LEAST_EFFECT` at least, as it
    is and beside the yardstick: what slowed the whole machine is no change of Sightbox.
    """
    old, new = ({row["name"]: row for row in report["rows"]} for report in (before, after))
    shared = [(old[name], new[name]) for name in old if name in new]
    both = [pair for pair in shared if all(row["problem"] is None for row in pair)]
    figures = [(pair, figure) for pair in both for figure in _figures(*pair)]
    machine = change(before["yardstick_ms"]["rounds"], after["yardstick_ms"]["rounds"])
    verdicts = [*_states(old, new)]
    verdicts += [_timed(pair[0]["name"], figure, machine, len(figures)) for pair, figure in figures]
    verdicts += [each for pair in both for each in _memory(*pair)]
    return Comparison(tuple(verdicts), machine, tuple(_differing(before, after)))


@dataclass(frozen=True)
class _Figure:
    name: str
    before: Json
    after: Json


def _figures(old: Json, new: Json) -> Iterator[_Figure]:
    yield _Figure("whole", old["whole_ms"], new["whole_ms"])
    yield _Figure("engine", old["engine_ms"], new["engine_ms"])
    batches = {batch["size"]: batch["ms"] for batch in old["batches"]}
    for batch in new["batches"]:
        # A batch of one is the engine's figure again.
        if batch["size"] in batches and batch["size"] > 1:
            yield _Figure(f"batch {batch['size']}", batches[batch["size"]], batch["ms"])


def _timed(way: str, figure: _Figure, machine: Change, comparisons: int) -> Verdict:
    found = change(figure.before["rounds"], figure.after["rounds"], comparisons)
    views = (found, without(found, machine))
    verdict = "same"
    if all(view.slower for view in views):
        verdict = "slower"
    elif all(view.faster for view in views):
        verdict = "faster"
    medians = (figure.before["median"], figure.after["median"])
    return Verdict(way, figure.name, verdict, found, *medians)


def _states(old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[Verdict]:
    """Yields what came, went, broke or was mended."""
    for name in [*old, *(name for name in new if name not in old)]:
        if name not in new or name not in old:
            yield Verdict(name, "", "gone" if name not in new else "new")
            continue
        failed = (old[name]["problem"] is not None, new[name]["problem"] is not None)
        right = (is_right(old[name]), is_right(new[name]))
        if failed == (False, True):
            yield Verdict(name, "", "broken")
        elif right == (True, False) and not failed[1]:
            yield Verdict(name, "answers", "wrong")
        elif right == (False, True):
            yield Verdict(name, "", "mended")


def _memory(old: Json, new: Json) -> Iterator[Verdict]:
    before, after = old["memory"]["steady"], new["memory"]["steady"]
    if before is None or after is None:
        return
    difference = after - before
    told = abs(difference) > max(MEMORY_BYTES, MEMORY * before)
    verdict = ("larger" if difference > 0 else "smaller") if told else "same"
    yield Verdict(old["name"], "memory", verdict, None, before, after)


def _differing(before: Json, after: Json) -> Iterator[str]:
    old = before["circumstances"] | {"name of the model": before["model"]}
    new = after["circumstances"] | {"name of the model": after["model"]}
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield f"{name} was {old.get(name, 'unknown')}, is {new.get(name, 'unknown')}"
