"""The load test: both loops against real servers, what they count, and what is marked."""

import json
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest

from commandline import SIGHTBOX, run
from misbehaving import Behaviour, answer, misbehaving, native
from serving import serving
from sightbox.backends import Pixels
from sightbox.backends.dummy import DummyBackend
from sightbox.benchmark.workload import mountain_files
from sightbox.classifier import Classifier
from sightbox.errors import RequestError
from sightbox.loadtest.connection import Target
from sightbox.loadtest.dialects import DIALECTS, RAW, find_dialect
from sightbox.loadtest.loops import fixed_times, poisson_times
from sightbox.loadtest.marks import is_here, marks_of
from sightbox.loadtest.open_inference import Normalisation
from sightbox.loadtest.report import Json, make_report
from sightbox.loadtest.spectrum import Point, hdr_text, percentiles, spectrum
from sightbox.loadtest.tables import tables
from sightbox.loadtest.testing import WARM_UP, Plan, Run, load

PICTURES = 3
STALL = 0.6
"""Seconds for which the server stands still once."""

FAST = Plan("", seconds=0.3, timeout=20.0, least=4 * PICTURES)


@pytest.fixture(scope="session")
def pictures() -> list[bytes]:
    return list(mountain_files(PICTURES, 64))


def measured(plan: Plan, pictures: Sequence[bytes]) -> Run:
    """Loads a server from a thread of its own: Playwright may have its loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(load, plan, pictures).result()


def codes(plan: Plan, found: Run) -> set[str]:
    return {mark.code for mark in marks_of(plan, found)}


def reported(plan: Plan, found: Run) -> Json:
    report = make_report(plan, found, [f"picture {number}" for number in range(PICTURES)])
    parsed: Json = json.loads(json.dumps(report))
    return parsed


@contextmanager
def dummy_server(home: Path, before_run: Callable[[Pixels], None]) -> Iterator[str]:
    with (
        Classifier(backend=DummyBackend(before_run), home=home) as classifier,
        serving(classifier) as url,
    ):
        yield url


class Pause:
    """Takes its time for each batch, in seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self, _: Pixels) -> None:
        threading.Event().wait(self._seconds)


class Stall:
    """Stands still once, some batches after the warm-up."""

    def __init__(self) -> None:
        self._batches = 0

    def __call__(self, _: Pixels) -> None:
        self._batches += 1
        if self._batches == WARM_UP + 10:
            threading.Event().wait(STALL)


def test_open_loop_shows_a_stall_to_all_requests_that_fell_into_it(
    home: Path, pictures: list[bytes]
) -> None:
    """With one connection nobody is asked during the stall: from sending on it cost one request."""
    with dummy_server(home, Stall()) as url:
        plan = replace(FAST, url=url, rate=100.0, seconds=1.5, connections=1)
        found = measured(plan, pictures)
    record = found.record
    stalled = 1000 * STALL
    assert len(record) == 150
    assert (record.latencies() > stalled / 2).sum() >= 100 * STALL / 2 - 1
    assert (record.service_times() > stalled / 2).sum() < 10
    assert record.service_times().max() >= stalled
    report = reported(plan, found)
    assert report["latency_ms"]["p99"] >= 0.9 * stalled
    assert report["latency_ms"]["p75"] > report["service_ms"]["p75"]
    assert "crowded" in codes(plan, found)
    assert report["client"]["waited_for_a_connection"] == record.waited > 10


def test_closed_loop_tells_what_the_service_takes(home: Path, pictures: list[bytes]) -> None:
    pause = 0.02
    with dummy_server(home, Pause(pause)) as url:
        found = measured(replace(FAST, url=url, clients=2), pictures)
    assert found.record.latencies().min() >= 1000 * pause
    assert found.record.latencies().tolist() == found.record.service_times().tolist()
    assert set(found.record.answers) == set(range(PICTURES))
    assert not found.record.unreadable
    assert found.record.statuses() == {200: len(found.record)}


def test_client_that_is_late_itself_says_so(
    pictures: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(_: object) -> str:
        threading.Event().wait(0.03)
        return "a class"

    monkeypatch.setitem(DIALECTS, "slow", DIALECTS["native"]._replace(read=slow))
    with misbehaving(lambda handler, _: answer(handler, native(1))) as url:
        plan = replace(FAST, url=url, dialect="slow", rate=100.0)
        found = measured(plan, pictures)
    assert "late" in codes(plan, found)
    assert reported(plan, found)["client"]["sent_late"] > 5


def test_overload_is_marked_and_unanswered_requests_are_counted(
    home: Path, pictures: list[bytes]
) -> None:
    """A request that could not even be sent before its time was over failed all the same."""
    with dummy_server(home, Pause(0.05)) as url:
        plan = replace(FAST, url=url, rate=200.0, timeout=0.4, connections=2)
        found = measured(plan, pictures)
    assert len(found.record) == 60
    assert found.record.errors["no answer in time"] > 10
    assert {"overloaded", "failed", "crowded"} <= codes(plan, found)
    report = reported(plan, found)
    assert report["per_second"]["answered"] < report["per_second"]["asked"]


@pytest.mark.parametrize(
    ("dialect", "model"),
    [
        *((name, None) for name in DIALECTS if name != RAW),
        ("native", "efficientnet-lite0"),
        ("photoprism", "efficientnet-lite0"),
        ("open-inference", "efficientnet-lite0_u8"),
        ("open-inference", "efficientnet-lite0"),
    ],
)
def test_every_dialect_answers_and_is_read(
    dummy: Classifier, pictures: list[bytes], dialect: str, model: str | None
) -> None:
    card = dummy.card
    with serving(dummy) as url:
        plan = replace(
            FAST,
            url=url,
            dialect=dialect,
            model=model,
            default=card.name,
            normalisation=Normalisation(card.mean, card.std),
        )
        found = measured(plan, pictures)
    assert found.record.statuses() == {200: len(found.record)}
    assert not found.record.unreadable
    answers = {number: set(named) for number, named in found.record.answers.items()}
    best = [dummy.classify(picture).top for picture in pictures]
    if model not in {None, card.name} or (dialect, model) == ("open-inference", card.name):
        # The pictures were resized by the client, in its own way.
        assert [len(named) for named in answers.values()] == [1] * PICTURES
    else:
        wanted = [{str(one.index), one.label["en"]} for one in best]
        assert all(answers[number] < wanted[number] for number in range(PICTURES))


def test_token_is_sent(dummy: Classifier, pictures: list[bytes]) -> None:
    secret = str(Target.of("http://a-token-of-some-length").host)
    with serving(dummy, token=secret) as url:
        plan = replace(FAST, url=url, token=secret)
        assert measured(plan, pictures).record.statuses().keys() == {200}
        with pytest.raises(RequestError, match=r"401.*--token"):
            measured(replace(plan, token=None), pictures)


def garbage(handler: BaseHTTPRequestHandler, _: int) -> None:
    answer(handler, b"<h1>It works!</h1>")


def two_minds(handler: BaseHTTPRequestHandler, number: int) -> None:
    answer(handler, native(number // PICTURES % 2))


def fails(handler: BaseHTTPRequestHandler, _: int) -> None:
    answer(handler, b"sorry", 500)


def hangs_up(handler: BaseHTTPRequestHandler, number: int) -> None:
    if number < PICTURES:
        answer(handler, native(1))
    handler.close_connection = True


@pytest.mark.parametrize(
    ("behaviour", "mark"),
    [(garbage, "unreadable"), (two_minds, "unsteady"), (fails, "failed"), (hangs_up, "failed")],
)
def test_server_that_answers_wrong_is_marked(
    pictures: list[bytes], behaviour: Behaviour, mark: str
) -> None:
    with misbehaving(behaviour) as url:
        plan = replace(FAST, url=url)
        found = measured(plan, pictures)
    assert mark in codes(plan, found)
    report = reported(plan, found)
    assert [table.name for table in tables(report)] == ["rates", "times", "outcomes", "remarks"]
    notes = "\n".join(note["en"] for note in tables(report)[-1].notes)
    if mark == "unreadable":
        assert "<h1>It works!</h1>" in notes
        assert report["answers"]["unreadable"] == len(found.record)
    elif mark == "unsteady":
        assert report["answers"]["unsteady_pictures"] == PICTURES
        assert "picture 2: " in notes
    else:
        assert found.record.statuses() in ({500: len(found.record)}, {})
        assert report["latency_ms"] == {"count": 0}


def test_right_server_is_not_marked_for_its_answers(pictures: list[bytes]) -> None:
    with misbehaving(lambda handler, _: answer(handler, native(7))) as url:
        plan = replace(FAST, url=url)
        found = measured(plan, pictures)
    assert not {"unreadable", "unsteady", "failed", "unchecked"} & codes(plan, found)
    assert {name for named in found.record.answers.values() for name in named} == {"7"}


def test_raw_answers_are_marked_as_unchecked(pictures: list[bytes]) -> None:
    with misbehaving(garbage) as url:
        plan = replace(FAST, url=f"{url}/anything?a=b", dialect=RAW)
        found = measured(plan, pictures)
    assert "unchecked" in codes(plan, found)
    assert "unreadable" not in codes(plan, found)
    assert found.target.path == "/anything?a=b"


def chunked(handler: BaseHTTPRequestHandler, _: int) -> None:
    body = native(1)
    handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    pieces = (body[:5], body[5:])
    for piece in pieces:
        handler.wfile.write(b"%x;extension=1\r\n%s\r\n" % (len(piece), piece))
    handler.wfile.write(b"0\r\nTrailer: x\r\n\r\n")


def until_closed(handler: BaseHTTPRequestHandler, _: int) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(native(1))
    handler.close_connection = True


@pytest.mark.parametrize("behaviour", [chunked, until_closed])
def test_answers_are_read_however_they_tell_their_end(
    pictures: list[bytes], behaviour: Behaviour
) -> None:
    with misbehaving(behaviour) as url:
        found = measured(replace(FAST, url=url), pictures)
    assert found.record.statuses() == {200: len(found.record)}
    assert found.record.answers[0].keys() == {"1"}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "no HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "no HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "closed within the answer"),
    ],
)
def test_what_is_no_answer_is_an_error_in_words(
    pictures: list[bytes], said: bytes, reason: str
) -> None:
    def say(handler: BaseHTTPRequestHandler, _: int) -> None:
        handler.wfile.write(said)
        handler.close_connection = True

    with misbehaving(say) as url, pytest.raises(RequestError, match=reason):
        measured(replace(FAST, url=url), pictures)


def test_nobody_listening_is_said_at_once() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        code, out, error = run("bench", "--serve", f"http://{address}")
    assert (code, out) == (2, "")
    assert f"{address} cannot be measured: connection refused" in error
    assert "sightbox serve" in error


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--serve", "127.0.0.1:8018"), "no address of a server"),
        (("--serve", "http://user:secret@127.0.0.1"), "Give a --token"),
        (("--serve", "http://127.0.0.1:0"), "no address of a server"),
        (("--serve", "http://127.0.0.1:99999"), "no address of a server"),
        (("--serve", "http://[::1"), "no address of a server"),
        (("--serve", "http://127.0.0.1/a b"), "no address of a server"),
        (("--serve", "http://127.0.0.1:1", "--token", "a\nb"), "characters that no token has"),
        (("--rate", "5"), "--rate: only for --serve URL"),
        (("--serve", "http://127.0.0.1:1", "--quick"), "--quick: not for --serve URL"),
        (("--serve", "http://127.0.0.1:1", "--rate", "5", "-c", "2"), "exclude each other"),
        (("--serve", "http://127.0.0.1:1", "--arrivals", "poisson"), "Give a --rate"),
        (("--serve", "http://127.0.0.1:1", "--rate", "5", "--arrivals", "x"), "fixed or poisson"),
        (
            ("--serve", "http://127.0.0.1:1", "--dialect", "smtp"),
            "There are native, open-inference",
        ),
    ],
)
def test_wrong_use_is_told(arguments: tuple[str, ...], reason: str) -> None:
    code, _, error = run("bench", *arguments)
    assert code == 2
    assert reason in error


def test_command_reports_and_keeps_the_figures(
    dummy: Classifier, photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "cat.png").write_bytes((photos / "chelsea.png").read_bytes())
    kept, hdr = tmp_path / "load.json", tmp_path / "load.hgrm"
    with serving(dummy) as url:
        code, out, error = run(
            *("bench", "--serve", url, "--rate", "20", "--arrivals", "poisson", "-d", "1"),
            *("--images", folder, "--json", kept, "--hdr", hdr),
        )
    assert (code, error) == (0, "")
    report = json.loads(kept.read_text())
    assert (report["kind"], report["format"]) == ("sightbox load test", 1)
    assert report["load"]["loop"] == "open"
    assert report["load"]["pictures"] == 1
    assert report["statuses"] == {"200": report["requests"]}
    assert report["requests"] == len(list(poisson_times(20, 1)))
    assert report["machine"]["cores"] >= 1
    assert report["client"]["cpu_share"] > 0
    assert "few" in {mark["code"] for mark in report["marks"]}
    for mark in report["marks"]:
        assert mark["en"] in out
    assert f"Total count    = {report['requests']:12d}" in hdr.read_text()


def test_interrupt_ends_early_with_what_was_measured(home: Path, tmp_path: Path) -> None:
    begun, batches = threading.Event(), iter(range(1_000_000))

    def count(_: Pixels) -> None:
        if next(batches) > WARM_UP + 5:
            begun.set()

    kept = tmp_path / "load.json"
    with dummy_server(home, count) as url:
        words = [*SIGHTBOX, "bench", "--serve", url, "-d", "600", "--json", str(kept)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            assert begun.wait(120)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate()
    assert process.returncode == 130
    assert "It was ended before its time" in out
    report = json.loads(kept.read_text())
    assert report["requests"] > 0
    assert report["seconds"] < 600
    assert "interrupted" in {mark["code"] for mark in report["marks"]}


def test_percentiles_are_samples_that_occurred_and_none_is_made_up() -> None:
    samples = np.random.default_rng(0).permutation(np.arange(1.0, 1001.0))
    found = percentiles(samples)
    assert [found[name] for name in ("p50", "p75", "p99", "p99.9")] == [500, 750, 990, 999]
    assert found["p99.99"] is None
    assert percentiles(samples[:99])["p99"] is None
    assert percentiles(samples[:0])["p50"] is None


def test_spectrum_is_finer_towards_its_end_and_ends_with_the_largest() -> None:
    points = spectrum(np.arange(1.0, 10_001.0))
    parts = [point.percentile for point in points]
    assert parts[:8] == [0, 10, 20, 30, 40, 50, 55, 60]
    assert points[-1] == Point(100.0, 10_000.0, 10_000)
    assert 99.97 < parts[-2] <= 99.99
    assert all(point.ms == max(1, point.rank) for point in points)
    assert spectrum(np.zeros(0)) == []


def test_hdr_text_has_the_columns_of_the_plotter() -> None:
    lines = hdr_text(np.arange(1.0, 101.0)).splitlines()
    assert lines[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    rows = [line.split() for line in lines[2:] if not line.startswith("#")]
    assert rows[5] == ["50.000", "0.500000000000", "50", "2.00"]
    assert rows[-1] == ["100.000", "1.000000000000", "100", "inf"]
    assert lines[-2] == "#[Mean    =       50.500, StdDeviation   =       28.866]"


def test_schedules_are_at_their_rate_and_always_the_same() -> None:
    assert list(fixed_times(4, 1)) == [0, 0.25, 0.5, 0.75]
    times = list(poisson_times(100, 100))
    assert len(times) == pytest.approx(10_000, rel=0.03)
    gaps = np.diff(times)
    # An exponential distribution's deviation is its mean.
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)
    assert times == sorted(times) == list(poisson_times(100, 100))


def test_other_work_disturbs_only_when_the_server_is_elsewhere() -> None:
    assert is_here("127.0.0.1")
    assert is_here("::1")
    assert is_here("localhost")
    assert not is_here("192.0.2.1")
    assert not is_here("example.org")


def test_url_is_taken_apart() -> None:
    here, there = Target.of("http://[::1]:8018/"), Target.of("https://example.org/a?b=c")
    assert here == Target("::1", 8018, tls=False, authority="[::1]:8018", path="")
    assert there == Target("example.org", 443, tls=True, authority="example.org", path="/a?b=c")


def test_unknown_dialect_is_told_with_those_that_are_there() -> None:
    with pytest.raises(RequestError, match="There are native"):
        find_dialect("smtp")
