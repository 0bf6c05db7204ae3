"""What is measured beside the ways: the tips, the machine's roofs, and the network's work."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision

from sightbox.benchmark import beside, tips
from sightbox.benchmark.markdown import to_markdown
from sightbox.benchmark.more_tables import roofline_table, tips_table
from sightbox.benchmark.page import benchmark_page
from sightbox.benchmark.report import Json, to_text
from sightbox.benchmark.roofline import Roofs, measure_roofs, roofline
from sightbox.benchmark.roofline_plot import roofline_plot
from sightbox.benchmark.tips import NO_TORCH, SHORT, TIPS, failed_tips, measure_tips
from sightbox.errors import ModelError
from sightbox.graphs import Input, build_graph
from sightbox.graphs.work import Work, work_of
from sightbox.machine import usable_cores
from sightbox.model import EXACT, graph_file
from sightbox.store import Store
from simulated import Machine, Simulated, measured, reported, small_home
from test_benchmark_report import Page

ROOFS = Roofs(gflops=100.0, gigabytes_per_second=10.0, cores=2)
WORK = Work(macs=500_000_000, weights=1_000_000, activations=9_000_000)


def row(name: str, variant: str, speeds: dict[int, float], device: str | None = None) -> Json:
    batches = [{"size": size, "images_per_second": speed} for size, speed in speeds.items()]
    return {"name": name, "variant": variant, "device": device, "problem": None} | {
        "batches": batches
    }


@pytest.fixture(scope="module")
def resnet18() -> bytes:
    """The graph of a ResNet-18 that has learned nothing."""
    network = torchvision.models.resnet18(weights=None)
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return build_graph("resnet18", state, Input(224, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)))[0]


def _counted_by_torch() -> Iterator[int]:
    """Yields the multiplications of each layer as torch's own modules tell their shapes."""
    network = torchvision.models.resnet18(weights=None).eval()
    counts: list[int] = []

    def count(module: torch.nn.Module, _: object, result: torch.Tensor) -> None:
        if isinstance(module, torch.nn.Conv2d):
            counts.append(result[0].numel() * module.weight[0].numel())
        elif isinstance(module, torch.nn.Linear):
            counts.append(module.weight.numel())

    for module in network.modules():
        module.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.zeros(1, 3, 224, 224))
    yield from counts


def test_work_of_a_resnet_is_what_torch_counts(resnet18: bytes) -> None:
    work = work_of(resnet18)
    assert work.macs == sum(_counted_by_torch())
    # As published (He et al. 2015, table 1): 1.8 * 10**9.
    assert round(work.macs / 1e9, 1) == 1.8
    # The 11,689,512 parameters, whose batch norms are folded: of their pairs a bias is left.
    norms = 4800
    assert work.weights == 11_689_512 - norms
    assert 4_000_000 < work.activations < 6_000_000


def test_intensity_grows_with_the_batch_and_with_smaller_numbers() -> None:
    assert WORK.flops == 1_000_000_000
    assert WORK.intensity(1, 4) == pytest.approx(1e9 / (4 * 10e6))
    assert WORK.intensity(8, 4) == pytest.approx(8e9 / (4 * 73e6))
    assert WORK.intensity(1, 1) == 4 * WORK.intensity(1, 4)


def test_graph_that_is_none_is_told() -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        work_of(b"no graph")


def test_roofs_are_found_by_all_cores() -> None:
    roofs = measure_roofs(seconds=0.02)
    assert roofs.cores == usable_cores()
    assert roofs.gflops > 0
    assert roofs.gigabytes_per_second > 0


def test_way_is_told_by_the_roof_above_it() -> None:
    ways = [
        row("a", EXACT, {1: 50.0, 8: 60.0}),
        row("b", "int8", {1: 400.0}),
        {"name": "broken", "problem": "It does not start."},
    ]
    points = roofline(ROOFS, WORK, ways)["points"]
    assert [(point["way"], point["batch"]) for point in points] == [("a", 1), ("a", 8), ("b", 1)]
    # 25 operations a byte, 10 GB/s: memory would allow 250 GFLOP/s, the processor 100.
    assert points[0] | {"device": None} == {
        "way": "a", "variant": EXACT, "device": None, "batch": 1,
        "intensity": 25.0, "gflops": 50.0, "part": 0.5,
    }  # fmt: skip
    heavy = Work(macs=500_000_000, weights=241_000_000, activations=9_000_000)
    bound = roofline(ROOFS, heavy, ways)["points"][0]
    # 1 operation a byte: memory allows 10 GFLOP/s.
    assert (bound["intensity"], bound["part"]) == (1.0, 5.0)


def test_roofline_is_drawn_where_its_figures_are() -> None:
    speed = ROOFS.at(WORK.intensity(1, 4))
    found = roofline(ROOFS, WORK, [row("a", EXACT, {1: speed}), row("b", EXACT, {1: speed / 10})])
    plot = roofline_plot(found, 600, 200)
    assert plot is not None
    (start, ridge, end), (first, second) = plot["roof"], plot["curves"]
    assert start["x"] == 0 < ridge["x"] == plot["ridge"] < end["x"] == 600
    assert start["y"] > ridge["y"] == end["y"]
    (on_roof,), (below,) = first["points"], second["points"]
    assert on_roof["y"] == ridge["y"] < below["y"] < 200
    assert ridge["x"] < on_roof["x"] == below["x"] < 600
    assert [tick["text"] for tick in plot["columns"]] == ["10", "20"]
    assert roofline_plot(None, 600, 200) is None


def test_table_gives_a_part_of_the_roof_to_float32_on_the_processor_alone() -> None:
    ways = [
        row("a", EXACT, {1: 50.0, 4: 40.0, 8: 60.0}),
        row("b", "int8", {1: 90.0, 4: 80.0}),
        row("c", EXACT, {1: 90.0}, "cuda"),
    ]
    table = roofline_table(roofline(ROOFS, WORK, ways))
    assert [cells[0] for cells in table.rows] == ["a, 1", "a, 8", "b, 1", "c, 1"]
    assert [cells[-1] for cells in table.rows] == ["50%", "60%", "–", "–"]
    assert "100 GFLOP/s" in table.notes[0]["en"]
    assert "10.0 GB/s" in table.notes[0]["zh"]


def test_roof_that_was_measured_too_low_is_told() -> None:
    fair = roofline(ROOFS, WORK, [row("a", EXACT, {1: 90.0}), row("b", "int8", {1: 900.0})])
    assert len(roofline_table(fair).notes) == 3
    beaten = roofline(ROOFS, WORK, [row("a", EXACT, {1: 110.0})])
    assert "too low" in roofline_table(beaten).notes[3]["en"]


def test_tips_are_tried_or_say_why_not(home: Path) -> None:
    found = {tip["tip"]: tip for tip in measure_tips(Store(home).open(), with_torch=False)}
    threads = {f"threads_{usable_cores()}"} if usable_cores() > 1 else set()
    assert found.keys() >= {tip.code for tip in TIPS} | threads
    for code in ("inference_mode", "script", "trace", "onnx", "openvino"):
        assert found[code]["problem"] == SHORT
    for code in ("int8_onnx", "int8_openvino"):
        assert "sightbox models optimize" in found[code]["problem"]["en"]
        assert "int8" in found[code]["problem"]["zh"]
    for code in {"nearest", "buffer", "batch"} | threads:
        assert found[code]["problem"] is None
        gain = found[code]["gain"]
        assert gain["low"] <= gain["ratio"] <= gain["high"]
        quotient = found[code]["base_ms"] / found[code]["ms"]
        assert gain["ratio"] == pytest.approx(quotient, rel=0.05)
    # It takes single pixels instead of weighing many: 20 times less work.
    assert found["nearest"]["gain"]["ratio"] > 2


def test_tips_of_torch_say_what_is_missing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Store(home).open()
    monkeypatch.setattr(tips, "TIPS", TIPS[:1])
    (first, *_) = measure_tips(model, with_torch=True)
    assert "torchvision has no network" in first["problem"]["en"]
    monkeypatch.setattr(tips, "find_spec", lambda _: None)
    (first, *_) = measure_tips(model, with_torch=True)
    assert first["problem"] == NO_TORCH


def test_times_of_a_tip_are_those_of_its_two_sides(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In simulated time: a side that takes 2 ms, and one that takes 3."""
    now = 0.0

    def call(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(tips, "perf_counter", lambda: now)
    sides = {"new array": lambda: call(3e-3), "given array": lambda: call(2e-3)}
    monkeypatch.setattr(tips, "_pixel_steps", lambda _: sides.items())
    monkeypatch.setattr(tips, "TIPS", [tip for tip in TIPS if tip.code == "buffer"])
    monkeypatch.setattr(tips, "_thread_tips", lambda: ())
    (found,) = measure_tips(Store(home).open(), with_torch=False)
    assert (found["base_ms"], found["ms"]) == (pytest.approx(3), pytest.approx(2))
    assert found["gain"]["ratio"] == pytest.approx(1.5, rel=1e-3)


def test_table_of_tips_names_each_reason_once() -> None:
    tried = {
        "tip": "nearest", "name": "NEAREST", "tried": "nearest", "base": "filter", "claimed": None,
        "problem": None, "base_ms": 2.0, "ms": 0.5,
        "gain": {"ratio": 4.0, "low": 3.0, "high": 5.0},
    }  # fmt: skip
    table = tips_table([tried, *failed_tips("It broke.")[:2]])
    assert table.rows[0] == ("NEAREST", "2.00", "0.50", "4.00", "3.00–5.00", "–")
    assert table.rows[1][1:] == ("–",) * 5
    assert table.notes[-1]["en"] == "Not tried: inference_mode, TorchScript script. It broke."
    assert "No claimed gain" in table.notes[1]["en"]
    claimed = tips_table([tried | {"claimed": "2 x"}])
    assert claimed.rows[0][-1] == "2 x"
    assert not any("No claimed gain" in note["en"] for note in claimed.notes)


def test_process_that_fails_leaves_the_rest_of_the_report(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(home)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    found = beside.measure_beside(store, store.open(), [], with_torch=False)
    assert found["roofline"] is None
    assert "code 1" in found["tips"][0]["problem"]["en"]


def test_work_of_the_stored_network_is_what_the_report_counts_with(home: Path) -> None:
    model = Store(home).open()
    work = work_of(model.read(graph_file(EXACT)))
    # As published for EfficientNet-Lite0: 407 million operations, 4.7 million weights.
    assert 350e6 < work.macs < 450e6
    assert 4.5e6 < work.weights < 4.8e6


def test_both_forms_have_the_new_parts(tmp_path: Path) -> None:
    shelf, machine = small_home(tmp_path), Machine(1)
    report = reported(shelf, measured(machine, Simulated(shelf, machine)))
    before = Page(benchmark_page(report)).tags.count("circle")
    found = roofline(ROOFS, WORK, report["rows"])
    report |= {"tips": failed_tips("It broke."), "roofline": found}
    page = Page(benchmark_page(report))
    assert page.tags.count("circle") == before + len(found["points"])
    assert len(page.texts["en"]) == len(page.texts["zh"])
    for language, title in (("en", "What each tip brings"), ("zh", "每项优化的收益")):
        document = to_markdown(report, language)
        assert f"### {title}" in document
        assert "### Roofline" in document
    assert json.loads(to_text(report))["roofline"]["gflops"] == 100
