"""The report as tables of words, in English and in Chinese, for the screen and for documents."""

from collections.abc import Iterator, Sequence

from sightbox.benchmark.more_tables import roofline_table, tips_table
from sightbox.benchmark.report import Json, is_right
from sightbox.benchmark.words import NONE, Table, words

MEGABYTE = 10**6


def tables(report: Json) -> list[Table]:
    """Returns all tables of a report."""
    parts = [_singles(report), _batches(report), _ways(report), _stages(report)]
    # Older reports have neither tips nor a roofline.
    parts += [tips_table(report["tips"])] if report.get("tips") else []
    parts += [roofline_table(report["roofline"])] if report.get("roofline") else []
    return [*parts, _remarks(report)]


def headline(report: Json) -> Json | None:
    """Returns the row that stands for this machine: the way that Sightbox takes here.

    Where that one was not measured, or is not right, it is the fastest one.
    """
    names = {row["name"]: row for row in report["rows"]}
    chosen: Json | None = names.get(report["chosen"])
    if chosen is None or not is_right(chosen):
        chosen = names.get(report["fastest"])
    return chosen


def _singles(report: Json) -> Table:
    row = headline(report)
    ours = [] if row is None else [_single(report, row)]
    quoted = [
        (
            f"{each['machine']} *",
            f"{each['latency_ms']:.1f}",
            f"{each['images_per_second']:.0f}",
            f"{each['megabytes']:.0f}",
            NONE,
            f"{each['start_s']:.1f}",
            "16",
        )
        for each in report["quoted"]
    ]
    headings = [
        words("machine", "机器"),
        words("ms a picture", "每张毫秒"),
        words("images/s", "张/秒"),
        words("MB", "内存 MB"),
        words("MB at most", "峰值 MB"),
        words("start s", "启动 秒"),
        words("batches to", "批量至"),
    ]
    side = report["picture"]["side"]
    title = words(
        f"One picture after the other ({side} x {side} px, JPEG)",
        f"逐张识别（{side}×{side} 像素，JPEG）",
    )
    quoted_note = words(
        "* quoted, not measured here: ResNet-18 in PyTorch.",
        "* 引用数据，非此处实测：PyTorch 中的 ResNet-18。",
    )
    ours_note = words(f"Model here: {report['model']}.", f"此处的模型：{report['model']}。")
    return Table("singles", title, headings, [*ours, *quoted], [ours_note, quoted_note])


def _single(report: Json, row: Json) -> tuple[str, ...]:
    median = row["whole_ms"]["median"]
    return (
        f"{report['machine']['name']}, {row['name']}",
        f"{median:.1f}",
        f"{1000 / median:.0f}",
        _megabytes(row["memory"]["steady"]),
        _megabytes(row["memory"]["peak"]),
        f"{sum(row['start_s'].values()):.1f}",
        str(row["batches"][-1]["size"]) if row["batches"] else NONE,
    )


def _batches(report: Json) -> Table:
    rows = [row for row in report["rows"] if row["problem"] is None]
    lines = [(row["name"], row["batches"]) for row in rows]
    lines += [(f"{each['machine']} *", each["batches"]) for each in report["quoted"]]
    sizes = sorted({batch["size"] for _, batches in lines for batch in batches})
    cells = [(name, *_speeds(batches, sizes)) for name, batches in lines]
    headings = [words("images/s", "张/秒"), *(words(f"batch {n}", f"批量 {n}") for n in sizes)]
    title = words(
        "Batches, the engine alone, until a larger one brings nothing",
        "批量推理（仅引擎），增大到不再变快为止",
    )
    return Table("batches", title, headings, cells)


def _speeds(batches: Sequence[Json], sizes: Sequence[int]) -> Iterator[str]:
    found = {batch["size"]: batch["images_per_second"] for batch in batches}
    for size in sizes:
        yield f"{found[size]:.0f}" if size in found else NONE


def _ways(report: Json) -> Table:
    headings = [
        words("way", "方式"),
        words("median ms", "中位 毫秒"),
        words("95 %", "95% 区间"),
        words("mean", "均值"),
        words("p90", "p90"),
        words("p99", "p99"),
        words("engine ms", "引擎 毫秒"),
        words("cores ms", "CPU 毫秒"),
        words("J", "焦耳"),
        words("MB", "MB"),
        words("start s", "启动 秒"),
        words("same answers", "答案一致"),
    ]
    rows = [_way(row) for row in report["rows"] if row["problem"] is None]
    title = words("Every way to run it, from JPEG to answer", "所有运行方式，从 JPEG 到答案")
    return Table("ways", title, headings, rows)


def _way(row: Json) -> tuple[str, ...]:
    whole, agreed = row["whole_ms"], row["agreement"]
    star = " (!)" if row["marks"] else ""
    return (
        row["name"] + star,
        f"{whole['median']:.2f}",
        f"{whole['low']:.2f}–{whole['high']:.2f}",
        f"{whole['mean']:.2f}",
        f"{whole['p90']:.2f}",
        f"{whole['p99']:.2f}",
        f"{row['engine_ms']['median']:.2f}",
        f"{row['cpu_ms']:.1f}",
        NONE if row["energy_j"] is None else f"{row['energy_j']:.2f}",
        _megabytes(row["memory"]["steady"]),
        " + ".join(f"{seconds:.2f}" for seconds in row["start_s"].values()),
        NONE if agreed is None else f"{agreed['top1']:.0%}",
    )


def _stages(report: Json) -> Table:
    rows = [row for row in report["rows"] if row["problem"] is None]
    names = words("way", "方式")
    stages = [
        words("decode", "解码"),
        words("preprocess", "预处理"),
        words("queue", "排队"),
        words("infer", "推理"),
        words("rest", "其余"),
    ]
    cells = [(row["name"], *(f"{each:.2f}" for each in row["stages_ms"].values())) for row in rows]
    title = words("Where the milliseconds of one picture go", "一张图片的毫秒花在哪里")
    return Table("stages", title, [names, *stages], cells)


def _remarks(report: Json) -> Table:
    """Makes the list of what must be known before a figure is quoted."""
    notes = [words(mark["en"], mark["zh"]) for mark in report["marks"]]
    for row in report["rows"]:
        name = row["name"]
        notes += [words(f"{name}: {mark['en']}", f"{name}：{mark['zh']}") for mark in row["marks"]]
        if row["problem"] is not None:
            told = row["problem"]
            notes.append(words(f"{name}, not measured: {told}", f"{name} 未测：{told}"))
    if not notes:
        notes.append(words("Nothing speaks against these figures.", "没有发现影响结果的问题。"))
    return Table("remarks", words("What to know about this run", "关于这次测量"), [], [], notes)


def _megabytes(count: int | None) -> str:
    return NONE if count is None else f"{count / MEGABYTE:.0f}"
