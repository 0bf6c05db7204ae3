"""The tables of the tips and of the roofline."""

from collections.abc import Iterator, Sequence

from sightbox.benchmark.report import Json
from sightbox.benchmark.words import NONE, Table, Words, words
from sightbox.model import EXACT


def tips_table(tips: Sequence[Json]) -> Table:
    """Returns what each tip brings, the measured gain beside the claimed one."""
    headings = [
        words("tip", "优化"),
        words("ms without", "之前 毫秒"),
        words("ms with", "之后 毫秒"),
        words("gain here", "实测提升"),
        words("95 %", "95% 区间"),
        words("claimed", "宣称提升"),
    ]
    notes = [
        words(
            "Gain: time without the tip ÷ time with it, for one picture; 1.00 means that it brings "
            "nothing. Both sides differ in the tip alone and take turns. NEAREST and prepare(out=) "
            "are about the resize of one photo, np.stack(out=) about a batch of 8.",
            "提升：一张图片不用该优化的时间 ÷ 使用后的时间，1.00 表示没有作用。"
            "两种做法只差这一项，轮流测量。"
            "NEAREST 和 prepare(out=) 是一张照片的缩放，np.stack(out=) 是 8 张图片组成一批。",
        )
    ]
    if not any(tip["claimed"] for tip in tips):
        notes.append(
            words(
                "No claimed gain is on record for these tips.", "这些优化没有记录在案的宣称提升。"
            )
        )
    rows = [_tip_cells(tip) for tip in tips]
    notes += _untried(tips)
    return Table("tips", words("What each tip brings", "每项优化的收益"), headings, rows, notes)


def roofline_table(found: Json) -> Table:
    """Returns where each way lies below the machine's roofs, with its first and its best batch."""
    headings = [
        words("way, batch", "方式，批量"),
        words("FLOP/byte", "FLOP/字节"),
        words("GFLOP/s", "GFLOP/s"),
        words("of the roof", "占上限"),
    ]
    work = found["work"]
    rows: list[tuple[str, ...]] = [
        (
            f"{point['way']}, {point['batch']}",
            f"{point['intensity']:.1f}",
            f"{point['gflops']:.1f}",
            f"{point['part']:.0%}" if _is_bound(point) else NONE,
        )
        for point in _shown(found["points"])
    ]
    gflops, speed, cores = found["gflops"], found["gigabytes_per_second"], found["cores"]
    notes = [
        words(
            f"Measured roofs of {cores} cores: {gflops:.0f} GFLOP/s in float32, by multiplying "
            f"matrices of 1024 x 1024 in NumPy, and {speed:.1f} GB/s, by copying 128 MiB with a "
            "thread on each core, read and written bytes counted. Of all tries the best counts.",
            f"实测上限（{cores} 个核心）：{gflops:.0f} GFLOP/s，"
            "用 NumPy 相乘 1024×1024 的 float32 矩阵；"
            f"{speed:.1f} GB/s，每个核心一个线程共复制 128 MiB，读写字节都计入。"
            "取各次中最好的一次。",
        ),
        words(
            f"The network does {work['macs'] / 1e6:.0f} million multiplications with additions for "
            "a picture. FLOP/byte counts the weights once a batch, and what each convolution reads "
            "and writes: as if nothing stayed in a cache, so that a way may lie above the slope.",
            f"网络每张图片做 {work['macs'] / 1e6:.0f} 百万次乘加。FLOP/字节把权重按每批一次计，"
            "加上每个卷积读写的数据，假设缓存里什么都留不住，所以实测点可能高于斜线。",
        ),
        words(
            "The flat roof is that of float32. int8 and bf16 have a higher one, which is not "
            "measured, so that they have no part of it.",
            "平顶是 float32 的上限。int8 和 bf16 的上限更高，没有测量，所以不给出占比。",
        ),
    ]
    if any(_is_bound(point) and point["gflops"] > gflops for point in found["points"]):
        notes.append(
            words(
                "A float32 way lies above the flat roof: the machine was busy while that was "
                "measured, and it is too low.",
                "有 float32 方式高于平顶：测量平顶时机器正忙，平顶偏低。",
            )
        )
    return Table("roofline", words("Roofline", "Roofline（屋顶线）"), headings, rows, notes)


def _tip_cells(tip: Json) -> tuple[str, ...]:
    claimed = tip["claimed"] or NONE
    if tip["problem"] is not None:
        return (tip["name"], NONE, NONE, NONE, NONE, claimed)
    gain = tip["gain"]
    return (
        tip["name"],
        f"{tip['base_ms']:.2f}",
        f"{tip['ms']:.2f}",
        f"{gain['ratio']:.2f}",
        f"{gain['low']:.2f}–{gain['high']:.2f}",
        claimed,
    )


def _untried(tips: Sequence[Json]) -> Iterator[Words]:
    """Yields a sentence for each reason why tips were not tried."""
    reasons: dict[str, list[Json]] = {}
    for tip in tips:
        if tip["problem"] is not None:
            reasons.setdefault(tip["problem"]["en"], []).append(tip)
    for alike in reasons.values():
        reason = alike[0]["problem"]
        names = [tip["name"] for tip in alike]
        yield words(
            f"Not tried: {', '.join(names)}. {reason['en']}",
            f"未测：{'、'.join(names)}。{reason['zh']}",
        )


def _shown(points: Sequence[Json]) -> Iterator[Json]:
    """Yields of each way the first batch and the fastest one."""
    for way in dict.fromkeys(point["way"] for point in points):
        own = [point for point in points if point["way"] == way]
        best = max(own, key=lambda point: float(point["gflops"]))
        yield from own[:1] if best is own[0] else (own[0], best)


def _is_bound(point: Json) -> bool:
    """Tells whether the roofs are those of a point: the processor's, in float32."""
    return point["variant"] == EXACT and point["device"] in (None, "cpu")
