"""The PyTorch backend's way to a GPU, on an accelerator of the test's own.

It computes on the processor and is as treacherous as a real one: what is queued happens when it is
waited for, and a graph's outputs hold nothing before it was replayed.
"""

import gc
import inspect
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from reference.seeded import model_of, noise, seeded_resnet18
from sightbox.backends.cuda import GRAPH_SIZES, WARM_UPS, Cuda, Outputs, Work, accelerator_of
from sightbox.backends.pytorch import OUTPUTS, PyTorchBackend
from sightbox.errors import BackendError
from sightbox.model import Model

FREE = 9
"""A batch size that gets no graph."""


class Queue:
    """An accelerator that writes down what it is told, and does it when it is waited for."""

    def __init__(self, *, captures: bool = True) -> None:
        self.told: list[str] = []
        self.made: list[weakref.ref[torch.Tensor]] = []
        self._captures = captures
        self._waiting: list[Callable[[], object]] = []

    def pin(self, shape: Sequence[int]) -> torch.Tensor:
        """Returns plain memory."""
        self.told.append(f"pin {shape[0]}")
        return self._kept(torch.empty(tuple(shape), dtype=torch.uint8))

    def upload(self, host: torch.Tensor) -> torch.Tensor:
        """Copies at once, since what the network is called with must be there."""
        assert host.dtype == torch.uint8, "floats would be four times as many bytes"
        self.told.append(f"upload {len(host)}")
        return self._kept(host.clone())

    def refill(self, device: torch.Tensor, host: torch.Tensor) -> None:
        """Copies later."""
        assert device.dtype == host.dtype == torch.uint8
        self.told.append(f"refill {len(host)}")
        self._waiting.append(lambda: device.copy_(host))

    def warm_up(self, work: Work) -> None:
        """Runs it once."""
        self.told.append("warm up")
        work()

    def capture(self, work: Work) -> tuple[Outputs, Callable[[], None]]:
        """Keeps the work; its outputs are no numbers before it is replayed."""
        self.told.append("capture")
        if not self._captures:
            raise RuntimeError("operation not permitted when stream is capturing")
        outputs = work()

        def fill(values: Outputs) -> None:
            with torch.inference_mode():
                for output, value in zip(outputs, values, strict=True):
                    output.copy_(value)

        def replay() -> None:
            self.told.append(f"replay {len(outputs[0])}")
            self._waiting.append(lambda: fill(work()))

        with torch.inference_mode():
            for output in outputs:
                self._kept(output).fill_(torch.nan)
        return outputs, replay

    def synchronise(self) -> None:
        """Does what waits."""
        self.told.append("synchronise")
        while self._waiting:
            self._waiting.pop(0)()

    def release(self) -> None:
        """Writes down how much is still held: that cannot be given back."""
        gc.collect()
        held = sum(made() is not None for made in self.made)
        self.told.append(f"release, {held} held")

    def _kept(self, tensor: torch.Tensor) -> torch.Tensor:
        self.made.append(weakref.ref(tensor))
        return tensor


@pytest.fixture(scope="module")
def model() -> Model:
    """A small ResNet-18 with seeded weights."""
    return model_of(seeded_resnet18())


@pytest.fixture(scope="module")
def plain(model: Model) -> Iterator[PyTorchBackend]:
    """The network without an accelerator."""
    backend = PyTorchBackend("cpu")
    backend.load(model, 1)
    yield backend
    backend.close()


def _on(queue: Queue, model: Model, mode: str = "eager", *, graphs: bool = True) -> PyTorchBackend:
    backend = PyTorchBackend("cpu", mode, graphs=graphs, accelerator=queue)
    backend.load(model, 1)
    return backend


def test_batch_size_is_recorded_on_first_use_and_replayed_from_then_on(model: Model) -> None:
    queue = Queue()
    backend = _on(queue, model)
    assert not queue.told, "nothing is recorded before it is needed"
    for _ in range(2):
        backend.run(noise(model, 2))
    step = ["refill 2", "replay 2", "synchronise"]
    assert queue.told == ["pin 2", "upload 2", "warm up", "capture", *step, *step]


def test_each_batch_size_has_a_graph_of_its_own(model: Model) -> None:
    queue = Queue()
    backend = _on(queue, model)
    for count in (1, 3, 1, 3, 2):
        backend.run(noise(model, count))
    assert queue.told.count("capture") == 3
    assert [told for told in queue.told if told.startswith("replay")] == [
        f"replay {count}" for count in (1, 3, 1, 3, 2)
    ]


def test_other_batch_sizes_go_without(model: Model, plain: PyTorchBackend) -> None:
    assert FREE not in GRAPH_SIZES
    queue = Queue()
    backend = _on(queue, model)
    images = noise(model, FREE)
    for _ in range(2):
        found = backend.run(images)["logits"]
        np.testing.assert_allclose(found, plain.run(images)["logits"], atol=1e-4)
    step = [f"upload {FREE}", "synchronise"]
    assert queue.told == [f"pin {FREE}", *step, *step]


def test_page_locked_memory_grows_to_the_largest_batch_and_is_kept(model: Model) -> None:
    queue = Queue()
    backend = _on(queue, model)
    for count in (2, 1, 4, 3, FREE, 4):
        backend.run(noise(model, count))
    assert [told for told in queue.told if told.startswith("pin")] == ["pin 2", "pin 4", "pin 9"]


@pytest.mark.parametrize(
    ("mode", "variant"),
    [("eager", "fp32"), ("trace", "fp32"), ("script", "fp32"), ("eager", "bf16")],
)
def test_answers_are_those_without_an_accelerator(model: Model, mode: str, variant: str) -> None:
    expected, found = PyTorchBackend("cpu", mode), PyTorchBackend("cpu", mode, accelerator=Queue())
    for backend in (expected, found):
        backend.load(model, 1, variant)
    for number, count in enumerate((1, 2, FREE, 2, 1)):
        images = noise(model, count, seed=number)
        ours, theirs = (backend.run(images, OUTPUTS) for backend in (found, expected))
        for name in OUTPUTS:
            assert ours[name].flags.c_contiguous
            np.testing.assert_allclose(ours[name], theirs[name], atol=1e-4)


def test_answer_is_the_callers_own(model: Model) -> None:
    backend = _on(Queue(), model)
    for count in (2, FREE):
        first = backend.run(noise(model, count, seed=1), OUTPUTS)
        before = {name: array.copy() for name, array in first.items()}
        backend.run(noise(model, count, seed=2), OUTPUTS)
        assert all(np.array_equal(first[name], before[name]) for name in OUTPUTS)
        first["logits"][:] = 0
        again = backend.run(noise(model, count, seed=1))["logits"]
        assert np.array_equal(again, before["logits"])


def test_threads_do_not_disturb_each_others_buffers(model: Model, plain: PyTorchBackend) -> None:
    backend = _on(Queue(), model)
    counts = (1, 2, 2, 1, FREE, 2, 1, 2)
    batches = [noise(model, count, seed=number) for number, count in enumerate(counts)]
    expected = [plain.run(images)["logits"] for images in batches]
    wrong: list[int] = []

    def ask(number: int) -> None:
        for _ in range(15):
            logits = backend.run(batches[number])["logits"]
            if not np.abs(logits - expected[number]).max() < 1e-4:
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(counts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert not wrong


def test_batch_that_cannot_be_recorded_goes_without(
    model: Model, plain: PyTorchBackend, caplog: pytest.LogCaptureFixture
) -> None:
    queue = Queue(captures=False)
    backend = _on(queue, model)
    images = noise(model, 2)
    for _ in range(2):
        found = backend.run(images)["logits"]
        np.testing.assert_allclose(found, plain.run(images)["logits"], atol=1e-4)
    assert queue.told.count("capture") == 1
    assert "Batches of 2 go without a CUDA graph: operation not permitted" in caplog.text


def test_graphs_can_be_left_out_for_measuring(model: Model) -> None:
    queue = Queue()
    _on(queue, model, graphs=False).run(noise(model, 1))
    with_gradients = PyTorchBackend("cpu", inference_mode=False, accelerator=queue)
    with_gradients.load(model, 1)
    with_gradients.run(noise(model, 1))
    assert queue.told == ["pin 1", "upload 1", "synchronise"] * 2


def test_pictures_of_a_wrong_shape_are_refused_before_the_device(model: Model) -> None:
    queue = Queue()
    backend = _on(queue, model)
    with pytest.raises(BackendError, match=r"PyTorch failed: the pixels are uint8 \[2, 39, 40, 3"):
        backend.run(noise(model, 2)[:, 1:])
    with pytest.raises(BackendError, match="PyTorch failed: the pixels are float32"):
        backend.run(noise(model, 2).astype(np.float32))
    assert not queue.told


def test_closing_frees_graphs_and_buffers(model: Model) -> None:
    queue = Queue()
    backend = _on(queue, model)
    backend.run(noise(model, 2))
    assert any(made() is not None for made in queue.made)
    for _ in range(2):
        backend.close()
    assert queue.told.count("release, 0 held") == 1
    with pytest.raises(BackendError, match="not loaded"):
        backend.run(noise(model, 2))
    backend.load(model, 1)
    assert backend.run(noise(model, 2))["logits"].shape == (2, 10)
    assert queue.told.count("capture") == 2


def test_loading_another_variant_forgets_the_graphs(model: Model) -> None:
    queue = Queue()
    backend = _on(queue, model)
    images = noise(model, 2)
    exact = backend.run(images)["logits"]
    backend.load(model, 1, "bf16")
    off = np.abs(backend.run(images)["logits"] - exact).max()
    assert off > 1e-4
    assert queue.told.count("capture") == 2
    assert queue.told.count("release, 0 held") == 1


def test_cuda_alone_has_an_accelerator() -> None:
    assert isinstance(accelerator_of(torch.device("cuda")), Cuda)
    assert accelerator_of(torch.device("cpu")) is None
    assert accelerator_of(torch.device("mps")) is None


class _Stream:
    """Stands for a stream of CUDA's."""

    def __init__(self, name: str, told: list[str]) -> None:
        self.name, self._told = name, told

    def wait_stream(self, other: "_Stream") -> None:
        """Writes it down."""
        self._told.append(f"{self.name} waits for {other.name}")

    def synchronize(self) -> None:
        """Writes it down."""
        self._told.append(f"waited for {self.name}")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What torch.cuda is told, in order; its functions are replaced, and must exist."""
    told: list[str] = []
    usual, side = _Stream("usual", told), _Stream("side", told)
    signature = inspect.signature(torch.cuda.graph)

    @contextmanager
    def stream(chosen: _Stream) -> Iterator[None]:
        told.append(f"in {chosen.name}")
        yield
        told.append(f"out of {chosen.name}")

    @contextmanager
    def graph(*arguments: object, **named: object) -> Iterator[None]:
        given = signature.bind(*arguments, **named).arguments
        assert (given["pool"], given["stream"]) == ("the pool", side)
        told.append(f"record, errors of {given['capture_error_mode']}")
        yield
        told.append("recorded")

    class Graph:
        """Stands for torch.cuda.CUDAGraph."""

        def replay(self) -> None:
            """Writes it down."""
            told.append("replay")

    replaced: dict[str, object] = {
        "Stream": lambda: side,
        "current_stream": lambda: usual,
        "stream": stream,
        "graph": graph,
        "graph_pool_handle": lambda: "the pool",
        "CUDAGraph": Graph,
        "empty_cache": lambda: told.append("emptied"),
    }
    for name, stand_in in replaced.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return told


def test_cuda_warms_up_and_records_as_pytorch_documents_it(told: list[str]) -> None:
    device = Cuda()
    tensors = (torch.zeros(1),) * 3

    def work() -> Outputs:
        told.append("work")
        return tensors

    device.warm_up(work)
    outputs, replay = device.capture(work)
    assert outputs is tensors
    replay()
    device.synchronise()
    device.release()
    assert told == [
        *("side waits for usual", "in side", *["work"] * WARM_UPS, "out of side"),
        "usual waits for side",
        *("record, errors of thread_local", "work", "recorded"),
        *("replay", "waited for usual", "emptied"),
    ]


def test_cuda_asks_for_page_locked_memory_and_copies_in_the_background(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, object]] = []

    def empty(shape: tuple[int, ...], **named: object) -> str:
        asked.append({"shape": shape, **named})
        return "memory"

    class Tensor:
        """Stands for a tensor."""

        def to(self, device: str, **named: object) -> None:
            """Writes it down."""
            asked.append({"to": device, **named})

        def copy_(self, _: object, **named: object) -> None:
            """Writes it down."""
            asked.append(named)

    monkeypatch.setattr(torch, "empty", empty)
    Cuda().pin([2, 4, 4, 3])
    tensor = Tensor()
    Cuda().upload(tensor)  # type: ignore[arg-type]  # it stands for one
    Cuda().refill(tensor, tensor)  # type: ignore[arg-type]  # likewise
    assert asked == [
        {"shape": (2, 4, 4, 3), "dtype": torch.uint8, "pin_memory": True},
        {"to": "cuda", "non_blocking": True},
        {"non_blocking": True},
    ]
