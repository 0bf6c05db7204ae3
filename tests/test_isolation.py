"""Decoder processes: the same pixels, and whatever happens to one costs its own picture alone."""

import io
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from serving import ask, assert_problem, serving
from sightbox import Classifier, Prediction
from sightbox.backends import Pixels
from sightbox.backends.dummy import DummyBackend
from sightbox.cli.classify import open_classifier
from sightbox.decoding import pool, process
from sightbox.decoding.decoder import Decoder
from sightbox.decoding.frames import Job, receive, result_from_json
from sightbox.decoding.process import DecoderProcess, ProcessLimits
from sightbox.errors import (
    BackendError,
    ClosedError,
    DeadlineError,
    DecodeMemoryError,
    DecoderCrashError,
    DecoderNotAvailableError,
    DecodeTimeError,
    ImageError,
    RequestError,
    SightboxError,
)
from sightbox.image import ImageLimits
from sightbox.pictures import Picture, PreparedPicture
from sightbox.preprocessing import Recipe
from sightbox.settings import load_settings

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs Linux or macOS")

RECIPE = Recipe(resize=48, crop=40, interpolation="bilinear")
ALL = ImageLimits(formats=("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"))
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the memory limit is Linux's")


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        pass


def prepared(decoder: Decoder, picture: object) -> PreparedPicture:
    return decoder.prepare(picture, RECIPE, ALL)  # type: ignore[arg-type]  # also what is none


def outcome(decoder: Decoder, picture: bytes) -> object:
    """Returns what a picture gives, as something to compare."""
    try:
        found = prepared(decoder, picture)
    except SightboxError as error:
        return type(error), error.detail, error.hint
    return found.image, found.pixels.tobytes()


def is_working(pid: int) -> Callable[[], bool]:
    """Returns what tells whether a process has computed for a tenth of a second since."""
    before = psutil.Process(pid).cpu_times().user
    return lambda: psutil.Process(pid).cpu_times().user > before + 0.1


def are_gone(pids: tuple[int, ...]) -> bool:
    return not any(psutil.pid_exists(pid) for pid in pids)


def is_over(pid: int) -> bool:
    """Tells whether a process has ended, though nobody may have asked for its exit code yet."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(scope="module")
def small() -> bytes:
    return saved(Image.linear_gradient("L").convert("RGB"), "JPEG")


@pytest.fixture(scope="module")
def large() -> bytes:
    """A PNG of 36 megapixels, of 144 MB when decoded, in 1 MB."""
    return saved(Image.linear_gradient("L").resize((6000, 6000)).convert("RGB"), "PNG")


@pytest.fixture(scope="module")
def shared() -> Iterator[Decoder]:
    """A decoder for tests that do not harm it."""
    with Decoder("process") as decoder:
        yield decoder


def _pictures() -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (61, 83, 3), dtype=np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    for kind in ALL.formats:
        for mode in ("RGB", "L", "P", "RGBA", "CMYK"):
            try:
                yield f"{kind} {mode}", saved(noise.convert(mode), kind)
            except (OSError, ValueError):
                continue
    yield "JPEG progressive", saved(noise, "JPEG", progressive=True, exif=turned)
    yield (
        "PNG 16 bits",
        saved(Image.fromarray(np.asarray(noise)[:, :, 0].astype("u2") * 257), "PNG"),
    )
    yield "WEBP moving", saved(noise, "WEBP", save_all=True, append_images=[noise.rotate(90)])
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        yield f"TIFF {compression}", saved(noise, "TIFF", compression=compression)


@pytest.mark.filterwarnings("ignore")  # Pillow's, of damaged pictures
@pytest.mark.parametrize(("name", "picture"), list(_pictures()), ids=[n for n, _ in _pictures()])
def test_process_says_what_a_thread_says(shared: Decoder, name: str, picture: bytes) -> None:
    """Whole, cut short and damaged: pixels, sizes and the words of errors are equal."""
    threads, rng = Decoder(), random.Random(name)
    variants = [picture, picture[:30], picture[: len(picture) // 2], picture[:-3]]
    for _ in range(12):
        damaged = bytearray(picture)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        variants.append(bytes(damaged))
    for variant in variants:
        assert outcome(shared, variant) == outcome(threads, variant)
    assert outcome(shared, picture)[0] != ImageError  # type: ignore[index]  # always a tuple


def test_paths_bytes_arrays_and_images_are_taken(
    shared: Decoder, photos: Path, gradient: Image.Image
) -> None:
    path, threads = photos / "rocket.jpg", Decoder()
    content = path.read_bytes()
    for picture in (path, str(path), content, bytearray(content), memoryview(content)):
        assert (prepared(shared, picture).pixels == prepared(threads, path).pixels).all()
    for drawn in (gradient, np.asarray(gradient)):
        assert (prepared(shared, drawn).pixels == prepared(threads, gradient).pixels).all()
    with pytest.raises(ImageError, match="No such file"):
        prepared(shared, "nope.jpg")
    with pytest.raises(RequestError, match="is no picture"):
        prepared(shared, 3)


def test_parts_of_the_time_are_told(shared: Decoder, large: bytes) -> None:
    begun = time.perf_counter()
    found = prepared(shared, large)
    spent = time.perf_counter() - begun
    assert found.decoding > found.preprocessing > 0 <= found.waited
    assert found.decoding + found.preprocessing + found.waited <= spent


def test_classifier_answers_alike_in_both_isolations(home: Path, photos: Path) -> None:
    answers = []
    for isolation in ("thread", "process"):
        with Classifier(backend=DummyBackend(), home=home, isolation=isolation) as classifier:
            assert len(classifier.decoder.pids) == (0 if isolation == "thread" else _size())
            pictures: list[Picture] = [photos / "rocket.jpg", b"nothing", photos / "coffee.png"]
            found = list(classifier.classify_many(pictures))
        answers.append([a.predictions if isinstance(a, Prediction) else a.detail for a in found])
    assert answers[0] == answers[1]


def _size() -> int:
    return Decoder().budget.pictures


def test_worker_imports_no_runtime_no_web_and_no_network() -> None:
    code = "import sys, sightbox.decoding.worker; print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    unwanted = {"onnxruntime", "openvino", "torch", "flask", "waitress", "pydantic", "typer"}
    assert not loaded & (unwanted | {"socket", "_socket", "ssl", "http", "multiprocessing"})
    ours = {name for name in loaded if name.startswith("sightbox.")}
    assert not ours & {"sightbox.classifier", "sightbox.settings", "sightbox.store", "sightbox.web"}


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_crash_costs_its_own_picture_alone(
    small: bytes, large: bytes, number: signal.Signals
) -> None:
    with Decoder("process") as decoder, ThreadPoolExecutor(1) as threads:
        prepared(decoder, small)
        pids = decoder.pids
        watches = {pid: is_working(pid) for pid in pids}
        hurt = threads.submit(prepared, decoder, large)
        until(lambda: any(working() for working in watches.values()))
        victim = next(pid for pid, working in watches.items() if working())
        os.kill(victim, number)
        with pytest.raises(DecoderCrashError, match=f"broke down.*{number.name}"):
            hurt.result()
        assert victim not in decoder.pids
        assert len(decoder.pids) == len(pids)
        assert prepared(decoder, small)
        assert prepared(decoder, large)


def test_idle_process_that_was_killed_costs_no_picture(small: bytes) -> None:
    with Decoder("process") as decoder:
        prepared(decoder, small)
        pids = decoder.pids
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        for _ in range(2 * _size()):
            assert prepared(decoder, small)
        assert len(decoder.pids) == len(pids)


@LINUX
def test_picture_above_the_memory_limit_is_refused(small: bytes, large: bytes) -> None:
    with Decoder("process", limits=ProcessLimits(memory_mb=100)) as decoder:
        for _ in range(3):
            with pytest.raises(
                DecodeMemoryError, match=r"more than 100 MB.*decode_memory_mb"
            ) as it:
                prepared(decoder, large)
            assert prepared(decoder, small)
        assert it.value.status == 422


@LINUX
def test_memory_that_a_library_lacks_is_told_too() -> None:
    """Libjpeg says "broken data stream" and libwebp "no decoder" when there is no memory."""
    drawn = Image.linear_gradient("L").resize((3000, 3000)).convert("CMYK")
    jpeg = saved(drawn, "JPEG", progressive=True)
    webp = saved(drawn.convert("RGB"), "WEBP", method=0)
    for picture in (jpeg, webp):
        with Decoder("process", limits=ProcessLimits(memory_mb=40)) as decoder:
            with pytest.raises(DecodeMemoryError, match=r"40 MB.*decode_memory_mb"):
                prepared(decoder, picture)
            with pytest.raises(ImageError) as caught:  # a small one is damaged and nothing else
                prepared(decoder, saved(Image.new("RGB", (9, 9)), "JPEG")[:-40])
            assert type(caught.value) is ImageError


def test_picture_above_the_time_limit_is_refused(small: bytes, large: bytes) -> None:
    with Decoder("process", limits=ProcessLimits(seconds=0.02)) as decoder:
        with pytest.raises(DecodeTimeError, match=r"longer than 0\.02 s.*decode_seconds") as caught:
            prepared(decoder, large)
        assert caught.value.status == 422


def test_process_that_hangs_is_killed_and_replaced(small: bytes) -> None:
    with Decoder("process", limits=ProcessLimits(seconds=2)) as decoder:
        prepared(decoder, small)
        pids = decoder.pids
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        with pytest.raises(DecodeTimeError):
            prepared(decoder, small)
        assert prepared(decoder, small)  # by the one in its place
        assert len(set(decoder.pids) & set(pids)) == len(pids) - 1


def test_wait_for_the_budget_is_no_time_of_decoding(small: bytes) -> None:
    with (
        Decoder("process", megapixels=1, limits=ProcessLimits(seconds=1)) as decoder,
        ThreadPoolExecutor(1) as threads,
    ):
        prepared(decoder, small)
        with decoder.budget.turn() as permit:
            permit(decoder.budget.pixels)
            waits = threads.submit(prepared, decoder, small)
            until(lambda: decoder.budget.waiting == 1)
            end = time.perf_counter() + 1.1
            until(lambda: time.perf_counter() > end)
        assert waits.result().waited >= 1.1


def test_picture_that_gives_up_waiting_leaves_its_process_alone(small: bytes) -> None:
    with Decoder("process", megapixels=1) as decoder:
        prepared(decoder, small)
        pids = decoder.pids
        with decoder.budget.turn() as permit:
            permit(decoder.budget.pixels)
            for _ in range(5):
                with pytest.raises(DeadlineError):
                    decoder.prepare(small, RECIPE, ALL, timeout=0)
        assert prepared(decoder, small)
        assert decoder.pids == pids


@LINUX
def test_many_threads_get_their_own_answers_beside_bad_pictures_and_kills(
    small: bytes, large: bytes
) -> None:
    rng = np.random.default_rng(1)
    good = [
        saved(Image.fromarray(rng.integers(0, 256, (90, 70, 3), dtype=np.uint8)), "PNG")
        for _ in range(60)
    ]
    expected = {picture: outcome(Decoder(), picture) for picture in good}
    bad = {b"no picture": ImageError, small[:99]: ImageError, large: DecodeMemoryError}
    work = good * 3 + list(bad) * 6
    random.Random(2).shuffle(work)
    kills: list[int] = []

    def classify(number: int) -> object:
        if number % 40 == 20:
            pids = decoder.pids
            kills.append(number)
            with suppress(ProcessLookupError):
                os.kill(pids[number % len(pids)], signal.SIGKILL)
        return outcome(decoder, work[number])

    with (
        Decoder("process", limits=ProcessLimits(memory_mb=100)) as decoder,
        ThreadPoolExecutor(16) as threads,
    ):
        found = list(threads.map(classify, range(len(work))))
        assert len(decoder.pids) == _size()
        assert outcome(decoder, good[0]) == expected[good[0]]
    crashes = 0
    assert kills
    for picture, got in zip(work, found, strict=True):
        kind = got[0]  # type: ignore[index]  # always a tuple
        if kind is DecoderCrashError:
            crashes += 1
        elif picture in bad:
            assert issubclass(kind, bad[picture])
        else:
            assert got == expected[picture]
    # Who is killed while it starts or waits costs nothing.
    assert crashes <= len(kills)


def test_processes_are_shared_and_end_with_the_last_classifier(
    home: Path, gradient: Image.Image
) -> None:
    decoder, backend = Decoder("process"), DummyBackend
    with Classifier(backend=backend(), home=home, decoding=decoder):
        pids = decoder.pids
        with Classifier(backend=backend(), home=home, decoding=decoder) as second:
            second.close()  # twice
        assert decoder.pids == pids
        assert not are_gone(pids)
    assert are_gone(pids)
    with Classifier(backend=backend(), home=home, decoding=decoder) as again:
        assert not set(decoder.pids) & set(pids)
        assert again.classify(saved(gradient, "PNG"))
    with pytest.raises(ClosedError):
        again.classify(saved(gradient, "PNG"))


def test_closing_ends_what_is_being_decoded(small: bytes, large: bytes) -> None:
    with ThreadPoolExecutor(1) as threads:
        with Decoder("process") as decoder:
            prepared(decoder, small)
            pids = decoder.pids
            watches = [is_working(pid) for pid in pids]
            running = threads.submit(prepared, decoder, large)
            until(lambda: any(working() for working in watches))
        assert are_gone(pids)
        with pytest.raises(ClosedError):
            running.result()


def test_classifier_that_cannot_be_made_leaves_no_process(home: Path) -> None:
    def fail(_images: Pixels) -> None:
        raise BackendError("It broke.")

    before = set(psutil.Process().children())
    with pytest.raises(BackendError):
        Classifier(backend=DummyBackend(fail), home=home, isolation="process")
    assert set(psutil.Process().children()) == before


def test_descriptors_threads_and_processes_stay_flat(small: bytes) -> None:
    def count() -> tuple[int, int, int]:
        own = psutil.Process()
        return own.num_fds(), threading.active_count(), len(own.children(recursive=True))

    with Decoder("process") as decoder:
        prepared(decoder, small)
    before = count()
    for number in range(50):
        with Decoder("process") as decoder:
            if number % 10 == 0:
                prepared(decoder, small)
    assert count() == before


OWNER = """
import sys
from sightbox.decoding.decoder import Decoder
from sightbox.image import ImageLimits
from sightbox.preprocessing import Recipe
with Decoder("process") as decoder:
    print(*decoder.pids, flush=True)
    while True:
        decoder.prepare(sys.argv[1], Recipe(48, 40, "bilinear"), ImageLimits())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_end_with_their_owner(
    large: bytes, tmp_path: Path, number: signal.Signals
) -> None:
    picture = tmp_path / "large.png"
    picture.write_bytes(large)
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, picture], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as owner:
        assert owner.stdout is not None
        pids = tuple(map(int, owner.stdout.readline().split()))
        watches = [is_working(pid) for pid in pids]
        until(lambda: all(psutil.Process(pid).cpu_times().user > 0 for pid in pids))
        until(lambda: any(working() for working in watches))
        owner.send_signal(number)
    until(lambda: all(map(is_over, pids)))


def test_server_decodes_in_processes_and_takes_them_along(photos: Path) -> None:
    environment = os.environ | {"SIGHTBOX_ISOLATION": "process", "SIGHTBOX_TOKEN": "a" * 16}
    command = [sys.executable, "-m", "sightbox", "serve", "--port", "0", "--backend", "dummy"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        try:
            url = server.stdout.readline().split()[-1]
            head = {"Authorization": f"Bearer {'a' * 16}"}
            photo = (photos / "rocket.jpg").read_bytes()
            assert ask(url, "/v1/classify", photo, head)[0] == 200
            decoders = psutil.Process(server.pid).children(recursive=True)
            assert len(decoders) == _size()
            if os.geteuid() == 0:  # others may not look into them
                assert "SIGHTBOX_TOKEN" not in decoders[0].environ()
        finally:
            server.terminate()
            server.stdout.read()
    assert server.returncode == 0
    assert are_gone(tuple(each.pid for each in decoders))


@LINUX
def test_limits_are_settings_and_problems_name_them(large: bytes, small: bytes) -> None:
    given = {"isolation": "process", "decode_memory_mb": 50, "decode_seconds": 5}
    settings = load_settings(backend="dummy", **given)
    with open_classifier(settings) as classifier, serving(classifier) as url:
        assert classifier.decoder._limits == ProcessLimits(50, 5)
        told = assert_problem(ask(url, "/v1/classify", large), 422, "decoding_too_large")
        assert "decode_memory_mb" in told
        assert ask(url, "/v1/classify", small)[0] == 200


CONFINED = """
import os, socket, sys
from sightbox.decoding.confinement import confine
sock, folder = socket.socketpair(), os.getcwd()
for each in sock:
    each.close()
confine(50_000_000)
def refused(action):
    try:
        action()
    except (OSError, MemoryError) as error:
        return type(error).__name__, getattr(error, "errno", None)
tries = [lambda: open("/etc/hostname"), socket.socket, lambda: bytes(60_000_000), os.pipe]
if os.geteuid():
    tries.append(os.fork)
print([refused(each) for each in tries])
print(refused(lambda: bytes(40_000_000)))
import ctypes
print(ctypes.CDLL(None).prctl(39, 0, 0, 0, 0), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""


@LINUX
def test_confined_process_opens_nothing_and_takes_little() -> None:
    told = subprocess.check_output([sys.executable, "-c", CONFINED], text=True).splitlines()
    assert "None" not in told[0].replace("('MemoryError', None)", "")
    assert told[1] == "None"
    assert told[2] == "1 0"  # no new privileges, no dumps


def frame(text: bytes, body: bytes = b"") -> bytes:
    return len(text).to_bytes(4, "big") + len(body).to_bytes(4, "big") + text + body


JOB = Job(RECIPE, ALL, "exact")


@pytest.mark.parametrize(
    "said",
    [
        frame(b"[" * 60_000),
        frame(b"[]"),
        frame(b"\xff"),
        frame(b"{}", b"x" * 4801),
        b"\xff" * 8,
    ],
)
def test_frame_that_is_none_is_refused(said: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        receive(io.BytesIO(said), 4800)
    with pytest.raises(EOFError):
        receive(io.BytesIO(frame(b"{}")[:-1]), 0)


@pytest.mark.parametrize(
    ("head", "length"),
    [
        ({}, 4800),
        ({"image": {"width": 3, "height": 2, "format": "PNG"}}, 4800),
        ({"image": {"width": 3, "height": 2, "format": "PNG"}, "preprocessing": 0.1}, 4799),
        ({"image": {"width": -3, "height": 2, "format": "PNG"}, "preprocessing": 0.1}, 4800),
        ({"image": {"width": 3, "height": "2", "format": "PNG"}, "preprocessing": 0.1}, 4800),
        ({"image": {"width": 3, "height": 1e9, "format": "PNG"}, "preprocessing": 0.1}, 4800),
        ({"image": {"width": 3, "height": 2, "format": "<b>"}, "preprocessing": 0.1}, 4800),
        ({"image": {"width": 3, "height": 2, "format": []}, "preprocessing": 0.1}, 4800),
        ({"image": [3, 2, "PNG"], "preprocessing": 0.1}, 4800),
    ],
)
def test_result_that_is_none_is_refused(head: dict[str, object], length: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        result_from_json(head, bytearray(length), JOB, 1.0)


LIAR = """
import os, sys
for said in sys.argv[1:]:
    os.write(0, bytes.fromhex(said))
while os.read(0, 65536):
    pass
"""


@pytest.mark.parametrize(
    "lie",
    [
        b'{"pixels": -1000000000}',
        b'{"pixels": 1e3}',
        b'{"pixels": 1000000000000}',
        b'{"error": "closed", "detail": "", "hint": ""}',
        b'{"error": "bad_image", "detail": 3, "hint": ""}',
        b'{"error": ["bad_image"]}',
        b"{}",
    ],
)
def test_process_that_was_taken_over_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, small: bytes, lie: bytes
) -> None:
    def start(channel: socket.socket, _: ProcessLimits) -> subprocess.Popen[bytes]:
        words = [frame(b"{}").hex(), frame(lie).hex()]
        return subprocess.Popen([sys.executable, "-c", LIAR, *words], stdin=channel.fileno())

    monkeypatch.setattr(process, "_start", start)
    with Decoder("process") as decoder:
        for _ in range(2):
            with pytest.raises(DecoderCrashError):
                prepared(decoder, small)
        room = decoder.budget._memory._free
    assert room == decoder.budget.pixels


def test_process_that_does_not_start_is_told_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, small: bytes
) -> None:
    real = sys.executable
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(DecoderNotAvailableError, match="cannot be started: No such file"):
        Decoder("process").__enter__()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with Decoder("process") as decoder:
        with pytest.raises(DecoderNotAvailableError, match="did not start: exit code 1"):
            prepared(decoder, small)
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        for _ in range(3 * _size()):
            with pytest.raises(DecoderNotAvailableError):
                prepared(decoder, small)
        monkeypatch.setattr(sys, "executable", real)
        assert prepared(decoder, small)


def test_place_of_a_process_outlives_every_failure_to_replace_it(
    monkeypatch: pytest.MonkeyPatch, small: bytes
) -> None:
    def fail(_: ProcessLimits) -> DecoderProcess:
        raise MemoryError

    with Decoder("process") as decoder:
        prepared(decoder, small)
        with monkeypatch.context() as patched:
            patched.setattr(pool, "DecoderProcess", fail)
            for pid in decoder.pids:
                os.kill(pid, signal.SIGKILL)
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            for _ in range(2 * _size()):
                with pytest.raises(MemoryError):
                    prepared(decoder, small)
        for _ in range(2 * _size()):
            assert prepared(decoder, small)


def test_isolation_must_be_known_and_one(home: Path) -> None:
    with pytest.raises(RequestError, match="There are thread, process"):
        Classifier(backend=DummyBackend(), home=home, isolation="container")
    with pytest.raises(RequestError, match="isolation thread, not process"):
        Classifier(backend=DummyBackend(), home=home, isolation="process", decoding=Decoder())
    with pytest.raises(RequestError, match="No picture decodes in 0 MB"):
        ProcessLimits(memory_mb=0)
