"""Which devices OpenVINO is to compute on, and how each is set up."""

from collections.abc import Sequence
from typing import Any

from sightbox.errors import BackendNotAvailableError

AUTO = "AUTO"
"""OpenVINO's name for a choice between devices."""

PROCESSOR = "CPU"
"""OpenVINO's name for the processor."""


def choose_devices(wanted: str, here: Sequence[str]) -> tuple[str, ...]:
    """Returns the devices to compute on, the most wanted first.

    Args:
        wanted: One device, such as ``GPU``; several to choose from, such as ``AUTO:GPU,CPU``; or
            ``AUTO`` alone. OpenVINO would take any device for that; here it is the processor, for
            nothing else was asked for.
        here: The devices that OpenVINO finds. Several of a kind are listed as ``GPU.0`` and
            ``GPU.1``; the kind alone means the first.

    Raises:
        BackendNotAvailableError: One of the devices is not here, or ``AUTO:`` names none.
    """
    kind, several, listed = wanted.partition(":")
    named = [wanted] if kind != AUTO else listed.split(",") if several else [PROCESSOR]
    # A device that is named twice would be compiled for twice.
    names = tuple(dict.fromkeys(named))
    known = {*here, *(name.partition(".")[0] for name in here)}
    absent = [name for name in names if name not in known]
    if absent:
        raise BackendNotAvailableError(
            f"OpenVINO finds no device {', '.join(map(repr, absent))} here.",
            f"It finds {', '.join(here)}. A choice between several is written AUTO:GPU,CPU.",
        )
    return names


def device_config(
    names: Sequence[str], threads: int, precision: str, streams: int
) -> dict[str, Any]:
    """Returns OpenVINO's properties for compiling on one device, or on several as AUTO.

    Args:
        names: The devices.
        threads: Threads of the processor that compute.
        precision: What is computed in: ``f32`` or ``bf16``. OpenVINO would take bf16 by itself
            where a processor has it.
        streams: Batches that are computed at the same time.
    """
    each = {name: _properties(name, threads, precision, streams) for name in names}
    if len(names) == 1:
        return each[names[0]]
    # AUTO answers on the processor until another device is ready; only if the processor is named.
    return {"DEVICE_PROPERTIES": each, "ENABLE_STARTUP_FALLBACK": PROCESSOR in each}


def _properties(name: str, threads: int, precision: str, streams: int) -> dict[str, str | int]:
    properties: dict[str, str | int] = {
        "INFERENCE_PRECISION_HINT": precision,
        "NUM_STREAMS": streams,
    }
    if name == PROCESSOR:
        # A thread that is bound to its core waits behind whatever else runs there.
        properties |= {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
    return properties
