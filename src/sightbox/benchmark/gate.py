"""Marks what must not be taken for a result: wrong answers, a busy machine, too much noise."""

from collections.abc import Iterator
from dataclasses import dataclass

from sightbox.agreement import Agreement, compare
from sightbox.benchmark.conditions import Conditions
from sightbox.benchmark.measuring import FULL, Effort, Found, Measurement
from sightbox.benchmark.probe import Logits
from sightbox.benchmark.statistics import summary
from sightbox.machine import usable_cores
from sightbox.model import EXACT

EXACT_CHANGE = 1e-3
"""Most that a probability of an exact way may differ from the reference."""

LEAST_TOP1 = 0.85
"""Part of the pictures that a variant must name as the reference does. There are few of them: how
far a variant agrees is told by its own report, here only nonsense is to be found."""

MEAN_CHANGE = 0.15
"""Most that a variant's probabilities may differ, the largest of each picture, on average."""

LOAD = 0.5
"""Load average for each core above which a machine counts as busy before the run."""

CONTENTION = 0.05
"""Part of the cores that others may take during the run."""

STOLEN = 0.01
"""Part of the time that the host may give to other machines."""

WITHHELD = 0.05
"""Part of the time for which a quota may hold the process up."""

SWAPPED = 256
"""Pages that may be swapped: 1 MB, which systems do by themselves."""

WIDTH = 0.1
"""Widest interval of a median, as a part of it."""

DISQUALIFYING = frozenset({"wrong", "unsteady", "unchecked"})
"""Marks with which no way is called the fastest."""

TEXTS = {
    "wrong": (
        "Its answers are not those of the reference ({figure}).",
        "结果与参考答案不符（{figure}）。",
    ),
    "unsteady": ("It did not always give the same answers.", "结果前后不一致。"),
    "unchecked": ("There was no reference to compare with.", "没有可供核对的参考答案。"),
    "wide": (
        "The median is not well known: its interval is {figure} wide.",
        "中位数不够确定：置信区间宽 {figure}。",
    ),
    "busy": ("The machine was busy with other work ({figure}).", "机器当时在忙别的（{figure}）。"),
    "stolen": (
        "The host gave {figure} of the time to other machines.",
        "宿主机把 {figure} 的时间给了其他虚拟机。",
    ),
    "throttled": (
        "The processor was slowed for its heat, {figure} times.",
        "处理器因过热降频 {figure} 次。",
    ),
    "withheld": (
        "A quota held it up for {figure} of the time.",
        "CPU 配额使其停顿了 {figure} 的时间。",
    ),
    "swapped": ("{figure} pages were swapped.", "有 {figure} 个内存页被换入换出。"),
    "drifting": (
        "The machine's own speed changed by {figure} meanwhile.",
        "机器自身的速度在此期间变化了 {figure}。",
    ),
    "answering": (
        "The server answered {figure} requests meanwhile.",
        "测量期间服务器应答了 {figure} 个请求。",
    ),
    "short": (
        "It was a short run: {figure} calls instead of {full}.",
        "测量较短：{figure} 次调用，而不是 {full} 次。",
    ),
    "unreadable": (
        "{figure} answers with status 200 name no class.",
        "{figure} 个状态为 200 的回答没有给出类别。",
    ),
    "failed": (
        "{figure} of the requests were not answered with status 200, and have no times here.",
        "{figure} 的请求未得到状态 200 的回答；所列时间只统计其余请求。",
    ),
    "overloaded": (
        "Only {figure} of the requests were answered in time: the times grow with the duration.",
        "只有 {figure} 的请求及时得到回答：持续越久，时延越长。",
    ),
    "crowded": (
        "{figure} requests had to wait in the client for a free connection.",
        "{figure} 个请求在客户端等待空闲连接。",
    ),
    "late": (
        "The client itself sent {figure} of the requests late.",
        "客户端自身使 {figure} 的请求延迟发出。",
    ),
    "strained": (
        "The client took {figure} of a core: it may have been the limit itself.",
        "客户端占用了一个核心的 {figure}：瓶颈可能在客户端。",
    ),
    "few": (
        "There were only {figure} answers: far percentiles are not known.",
        "只有 {figure} 个回答：高百分位数无法确定。",
    ),
    "interrupted": (
        "It was ended before its time; {figure} requests were still on their way.",
        "测量提前结束，尚有 {figure} 个请求未完成。",
    ),
}
"""What each mark says, in English and in Chinese. Those from ``unreadable`` on are of load tests:
`sightbox.loadtest.marks`."""


@dataclass(frozen=True)
class Mark:
    """A reason not to trust a figure.

    Attributes:
        code: One of `TEXTS`.
        figure: What was seen, for people.
    """

    code: str
    figure: str = ""

    def to_json(self) -> dict[str, str]:
        """Returns it as JSON values, with its text in each language."""
        full = FULL.rounds * FULL.calls
        english, chinese = (text.format(figure=self.figure, full=full) for text in TEXTS[self.code])
        return {"code": self.code, "en": english, "zh": chinese}


def agreement(found: Found, reference: Logits | None) -> Agreement | None:
    """Compares a way's answers with the reference's; None where one of them is missing."""
    if reference is None or found.logits is None or found.logits.shape != reference.shape:
        return None
    return compare(reference, found.logits)


def marks_of_way(found: Found, reference: Logits | None) -> list[Mark]:
    """Returns what is wrong with the figures of one way.

    Args:
        found: What was measured of it.
        reference: The exact network's answers on the default backend, float32 [N, C].
    """
    if found.problem is not None:
        return []
    return list(_marks_of_way(found, reference))


def marks_of_run(measured: Measurement, conditions: Conditions, effort: Effort) -> list[Mark]:
    """Returns what is wrong with all figures of a run."""
    calls = effort.calls * len(measured.yardstick)
    return [*disturbances(conditions, measured.seconds), *_shortness(measured, calls)]


def disturbances(seen: Conditions, seconds: float) -> Iterator[Mark]:
    """Yields what else the machine did that may have disturbed a run of so many seconds."""
    cores = usable_cores()
    if seen.contention is not None and seen.contention > CONTENTION:
        yield Mark("busy", f"{seen.contention:.0%}")
    elif seen.load_before is not None and seen.load_before > LOAD * cores:
        yield Mark("busy", f"load {seen.load_before:.1f}")
    if seen.stolen is not None and seen.stolen > STOLEN:
        yield Mark("stolen", f"{seen.stolen:.0%}")
    if seen.throttled:
        yield Mark("throttled", str(seen.throttled))
    if seen.withheld is not None and seen.withheld > WITHHELD * seconds:
        yield Mark("withheld", f"{seen.withheld / seconds:.0%}")
    if seen.swapped is not None and seen.swapped > SWAPPED:
        yield Mark("swapped", str(seen.swapped))


def _marks_of_way(found: Found, reference: Logits | None) -> Iterator[Mark]:
    agreed = agreement(found, reference)
    if reference is None:
        yield Mark("unchecked")
    elif agreed is None:
        yield Mark("wrong", "another number of classes")
    elif not _agrees(agreed, exact=found.way.variant == EXACT):
        yield Mark("wrong", f"top-1 {agreed.top1:.0%}, Δp ≤ {agreed.largest_change:.2g}")
    if not found.steady:
        yield Mark("unsteady")
    width = summary([visit.times for visit in found.whole]).width
    if width > WIDTH:
        yield Mark("wide", _part(width))


def _agrees(agreed: Agreement, *, exact: bool) -> bool:
    if exact:
        return agreed.largest_change <= EXACT_CHANGE
    return agreed.top1 >= LEAST_TOP1 and agreed.mean_change <= MEAN_CHANGE


def _shortness(measured: Measurement, calls: int) -> Iterator[Mark]:
    width = summary(measured.yardstick).width
    if width > WIDTH:
        yield Mark("drifting", _part(width))
    if calls < FULL.rounds * FULL.calls:
        yield Mark("short", str(calls))


def _part(width: float) -> str:
    return f"{width:.0%}" if width <= 1 else "> 100%"
