"""``sightbox eval --calibrate``: fits how far scores can be trusted, tells it, and keeps it."""

from dataclasses import dataclass, field

from rich.console import Console

from sightbox.accuracy import Rate
from sightbox.calibration import Calibration
from sightbox.classifier import Classifier
from sightbox.cli.screen import print_rows
from sightbox.errors import RequestError
from sightbox.evaluation import rate_to_json
from sightbox.schema import Json
from sightbox.store import Store
from sightbox.temperature import FOLDS, Fit, Fitting, Measured, least_pictures

PRECISION = 0.95
"""The part of the sure answers that is to be right, where nothing else is wanted."""


@dataclass(frozen=True)
class Wish:
    """What is wanted of a calibration.

    Attributes:
        precision: The part of the sure answers that is to be right, 0 to 1.
        save: Whether to keep the result in the model's card.
        fitting: What takes the pictures.
    """

    precision: float
    save: bool
    fitting: Fitting = field(default_factory=Fitting)

    def fit(self) -> Fit:
        """Fits to the pictures that were taken.

        Raises:
            RequestError: They are too few, or do not tell a temperature.
        """
        if self.fitting.pictures < FOLDS:
            raise RequestError(
                f"{self.fitting.pictures} pictures are too few to calibrate with.",
                f"It takes {FOLDS} at the very least, and a few hundred to promise much.",
            )
        fit = self.fitting.fit(self.precision)
        if fit.at_the_edge:
            raise RequestError(
                "These pictures tell no temperature: the best would lie beyond "
                f"{fit.temperature:g}.",
                "Take pictures of which the model names some wrongly: those that it is used for.",
            )
        return fit


def wish(
    *, calibrate: bool, precision: float | None, save: bool, against: str | None
) -> Wish | None:
    """Returns what the options want, or None where nothing is to be calibrated.

    Raises:
        RequestError: They contradict each other, or the precision is out of range.
    """
    if not calibrate:
        if save or precision is not None:
            raise RequestError("--precision and --save belong to --calibrate.", "Add --calibrate.")
        return None
    if against is not None:
        raise RequestError("--calibrate takes one way to answer.", "Leave out --against.")
    if precision is not None and not 0 <= precision <= 1:
        raise RequestError(f"--precision is {precision:g}; it must be from 0 to 1, such as 0.95.")
    return Wish(PRECISION if precision is None else precision, save)


def conclude(screen: Console, wanted: Wish, classifier: Classifier, store: Store) -> Json:
    """Fits, prints what was found, keeps it where that is wanted, and returns it as JSON values.

    Raises:
        RequestError: The pictures are too few, or do not tell a temperature.
        ModelError: The model's card cannot be written.
    """
    fit = wanted.fit()
    _show(screen, fit, wanted)
    _keep(screen, fit, wanted, classifier, store)
    return {
        "temperature": fit.temperature,
        "threshold": fit.threshold,
        "precision": wanted.precision,
        "pictures": fit.pictures,
        "folds": FOLDS,
        "before": _measured_to_json(fit.before),
        "after": _measured_to_json(fit.after),
    }


def _show(screen: Console, fit: Fit, wanted: Wish) -> None:
    screen.print("Calibrated", style="bold")
    threshold = "none" if fit.threshold is None else f"{fit.threshold:g}"
    rows = [
        ("temperature", f"{fit.temperature:.3f}"),
        (f"sure from, for {wanted.precision:g} right", threshold),
    ]
    if fit.threshold is None:
        rows.append(("why none", _refusal(fit, wanted.precision)))
    print_rows(screen, rows)
    screen.print(
        f"Before and after, on pictures that it was not fitted to ({FOLDS} folds)", style="bold"
    )
    columns = [_figures(fit.before), _figures(fit.after)]
    names = ("negative log-likelihood", "calibration error", "sure", "of them right")
    print_rows(screen, list(zip(names, *columns, strict=True)), ("", "before", "after"))


def _keep(screen: Console, fit: Fit, wanted: Wish, classifier: Classifier, store: Store) -> None:
    if not wanted.save:
        screen.print("Nothing is kept. To keep it in the model's card: --save", style="dim")
        return
    info = classifier.info
    store.calibrate(
        info.name,
        Calibration(fit.temperature, fit.threshold, wanted.precision, fit.pictures, info.variant),
    )
    screen.print(
        f"Kept in the card of {info.name}; a server that runs takes it up when it starts anew. "
        f"The way back: sightbox models uncalibrate {info.name}"
    )


def _measured_to_json(measured: Measured) -> Json:
    return {
        "negative_log_likelihood": measured.loss,
        "calibration_error": measured.error,
        "sure": rate_to_json(measured.answered),
        "right": rate_to_json(measured.right),
    }


def _refusal(fit: Fit, precision: float) -> str:
    """Says why a precision cannot be promised."""
    least = least_pictures(precision)
    if least is None:
        return "no number of pictures can promise that all answers are right"
    if fit.pictures < least:
        return f"{fit.pictures} pictures cannot promise it: it takes {least}, all of them right"
    hits, of, low, _ = fit.kept
    return f"at best {hits} of {of} are right, which promises {low:.3f}; more pictures promise more"


def _figures(measured: Measured) -> tuple[str, ...]:
    return (
        f"{measured.loss:.3f}",
        f"{measured.error:.3f}",
        f"{measured.answered.part:.1%}",
        _told(measured.right),
    )


def _told(rate: Rate) -> str:
    if not rate.of:
        return "–"
    return f"{rate.part:.3f} ({rate.hits} of {rate.of}; 95 % {rate.low:.3f} to {rate.high:.3f})"
