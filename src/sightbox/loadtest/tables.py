"""The report as tables of words, in English and in Chinese."""

from sightbox.benchmark.words import NONE, Table, words
from sightbox.loadtest.report import Json
from sightbox.loadtest.spectrum import PERCENTILES


def tables(report: Json) -> list[Table]:
    """Returns all tables of a report."""
    return [_rates(report), _times(report), _outcomes(report), _remarks(report)]


def _rates(report: Json) -> Table:
    load, rates = report["load"], report["per_second"]
    server = report["server"]
    if load["loop"] == "open":
        told = words(
            f"open loop, {load['rate']:g} a second ({load['arrivals']})",
            f"开环，每秒 {load['rate']:g} 个（{load['arrivals']}）",
        )
    else:
        told = words(f"closed loop, {load['clients']} clients", f"闭环，{load['clients']} 个客户端")
    title = {
        code: f"{server['address']}, {server['dialect']}: {text}" for code, text in told.items()
    }
    headings = [
        words("seconds", "秒"),
        words("requests", "请求"),
        words("asked/s", "请求/秒"),
        words("answered/s", "回答/秒"),
        words("client, cores", "客户端占核"),
        words("sent late", "迟发"),
    ]
    row = (
        f"{report['seconds']:.1f}",
        str(report["requests"]),
        f"{rates['asked']:.1f}",
        f"{rates['answered']:.1f}",
        f"{report['client']['cpu_share']:.2f}",
        str(report["client"]["sent_late"]),
    )
    return Table("rates", title, headings, [row])


def _times(report: Json) -> Table:
    names = ["mean", *(f"p{part:g}" for part in PERCENTILES), "max"]
    headings = [words("ms", "毫秒"), *(words(name, name) for name in names)]
    kinds = [("from sent to answer", "service_ms")]
    if report["load"]["loop"] == "open":
        kinds.insert(0, ("from due to answer", "latency_ms"))
    rows = [
        (kind, *(_told(report[field].get(name)) for name in names))
        for kind, field in kinds
        if report[field]["count"]
    ]
    title = words("Times of the answers with status 200", "状态为 200 的回答所用时间")
    return Table("times", title, headings, rows)


def _outcomes(report: Json) -> Table:
    counts = {f"status {status}": count for status, count in report["statuses"].items()}
    counts |= report["errors"]
    rows: list[tuple[str, ...]] = [(outcome, str(count)) for outcome, count in counts.items()]
    headings = [words("outcome", "结果"), words("requests", "请求")]
    return Table("outcomes", words("What became of the requests", "请求的结果"), headings, rows)


def _remarks(report: Json) -> Table:
    notes = [words(mark["en"], mark["zh"]) for mark in report["marks"]]
    for found in report["answers"]["unsteady"]:
        named = ", ".join(f"{name} ({count})" for name, count in found["named"].items())
        notes.append(words(f"{found['picture']}: {named}", f"{found['picture']}：{named}"))
    excerpt = report["answers"]["first_unreadable"]
    if excerpt is not None:
        notes.append(words(f"The first such answer: {excerpt}", f"首个此类回答：{excerpt}"))
    if not notes:
        notes.append(words("Nothing speaks against these figures.", "没有发现影响结果的问题。"))
    return Table("remarks", words("What to know about this run", "关于这次测量"), [], [], notes)


def _told(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"
