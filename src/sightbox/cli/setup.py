"""``sightbox setup``: the models, and how they run fastest here."""

from rich.console import Console

from sightbox.catalogue import EMBEDDED, PREFERRED
from sightbox.cli.models import fetch_with_bar
from sightbox.cli.screen import console
from sightbox.cli.tune import tune as measure
from sightbox.errors import CheckpointError, DownloadError, ModelError, SightboxError
from sightbox.model import Model
from sightbox.plan import advice
from sightbox.settings import Settings, load_settings
from sightbox.store import Store

FETCHED_BY_SETUP = PREFERRED[0]


def run(*, fetch: bool, tune: bool) -> int:
    """Prepares the embedded model, tries once to fetch the preferred one, and measures the default.

    Returns the exit code.
    """
    settings = load_settings()
    store = Store(settings.home)
    screen = console()
    with screen.status(f"Preparing {EMBEDDED}"):
        model = store.prepare_embedded()
    if model.folder is None:
        # The store's warning has said that the model is in memory alone, and why.
        return 1
    screen.print(f"{EMBEDDED} is ready.")
    if fetch and FETCHED_BY_SETUP not in store.names():
        try:
            fetch_with_bar(store, FETCHED_BY_SETUP, screen)
        except (DownloadError, CheckpointError, ModelError) as error:
            screen.print(f"{FETCHED_BY_SETUP} could not be fetched, going on without: {error}")
    default = store.open(settings.model)
    screen.print(f"The default model is {default.card.name}.")
    if tune and advice(default) is not None:
        screen.print("Measuring how it runs fastest here, about a minute (Ctrl-C leaves it out).")
        _tune(store, default, settings, screen)
    return 0


def _tune(store: Store, model: Model, settings: Settings, screen: Console) -> None:
    try:
        tuning = measure(store, model, settings, screen, full=False)
    except KeyboardInterrupt:
        screen.print("Left out. Later: sightbox tune")
    except SightboxError as error:
        screen.print(f"It could not be measured, going on without: {error}")
    else:
        best = tuning.best(settings.goal, settings.least_agreement)
        if best is not None:
            screen.print(f"The fastest way: {best.plan}.")
