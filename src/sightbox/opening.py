"""Classifiers as the settings describe them."""

from dataclasses import asdict

from sightbox.classifier import Classifier
from sightbox.decoding.decoder import Decoder
from sightbox.decoding.process import ProcessLimits
from sightbox.image import ImageLimits
from sightbox.model import Model
from sightbox.plan import Plan, choose
from sightbox.settings import Settings

PIXELS_PER_MEGAPIXEL = 1_000_000


def open_classifier(
    settings: Settings,
    name: str | None = None,
    plan: Plan | None = None,
    decoding: Decoder | None = None,
) -> Classifier:
    """Returns the classifier that the settings describe.

    Args:
        settings: The settings.
        name: Name of a model; that of the settings when not given.
        plan: How to run it; as the settings say when not given.
        decoding: What decodes the pictures; as the settings say when not given.

    Raises:
        ModelNotFoundError: There is no such model.
        ModelError: The model is damaged.
        BackendError: The backend is not available or refuses the model.
    """
    given = {
        "backend": settings.backend,
        "variant": settings.variant,
        "threads": settings.threads,
        "streams": settings.streams,
        "max_batch": settings.max_batch,
    }
    return Classifier(
        name or settings.model,
        device=settings.device,
        home=settings.home,
        goal=settings.goal,
        least_agreement=settings.least_agreement,
        queue_size=settings.queue_size,
        limits=image_limits(settings),
        preprocessing=settings.preprocessing,
        decoding=decoding or make_decoder(settings),
        **(given if plan is None else asdict(plan)),
    )


def plan_for(settings: Settings, model: Model, variant: str | None = None) -> Plan:
    """Returns how the settings would run a model.

    Args:
        settings: The settings.
        model: The model.
        variant: The variant that is wanted; as the settings say when not given.
    """
    plan = _choose(settings, model, settings.variant)
    # There is one plan for a variant, whether it was asked for by name or not.
    return plan if variant in {None, plan.variant} else _choose(settings, model, variant)


def make_decoder(settings: Settings) -> Decoder:
    """Returns the decoder that the settings describe; all classifiers of a process share it."""
    return Decoder(
        settings.isolation,
        megapixels=settings.decode_megapixels,
        limits=ProcessLimits(settings.decode_memory_mb, settings.decode_seconds),
    )


def image_limits(settings: Settings) -> ImageLimits:
    """Returns which pictures the settings let in."""
    limits = ImageLimits(max_pixels=int(settings.max_megapixels * PIXELS_PER_MEGAPIXEL))
    if settings.allow_tiff:
        limits = ImageLimits(limits.max_pixels, (*limits.formats, "TIFF"))
    return limits


def _choose(settings: Settings, model: Model, variant: str | None) -> Plan:
    return choose(
        model,
        settings.goal,
        least_agreement=settings.least_agreement,
        measured=settings.device is None,
        backend=settings.backend,
        variant=variant,
        threads=settings.threads,
        streams=settings.streams,
        max_batch=settings.max_batch,
    )
