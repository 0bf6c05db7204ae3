"""``sightbox serve``: the page and the API."""

import logging
from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from sightbox.classifier import Classifier
from sightbox.cli.classify import open_classifier
from sightbox.cli.screen import console
from sightbox.logs import FIELDS, configure
from sightbox.machine import limit_arenas, usable_cores
from sightbox.plan import advice
from sightbox.residents import Residents
from sightbox.settings import Settings, load_settings
from sightbox.store import Store
from sightbox.web.app import create_app
from sightbox.web.second_port import grpc_beside
from sightbox.web.server import Server, stop_on_signals
from sightbox.web.tokens import Token, kept_token

logger = logging.getLogger(__name__)


def run(given: Mapping[str, object]) -> int:
    """Serves until SIGTERM or Ctrl-C, and returns the exit code.

    Raises:
        SettingsError: A setting is wrong, or the address cannot be listened on.
    """
    settings = load_settings(**given)
    token = kept_token(settings)
    if token is not None:
        settings = settings.model_copy(update={"token": token.text})
    limit_arenas(usable_cores())
    configure(settings.log_format, settings.log_level)
    with open_classifier(settings) as classifier, Residents(classifier, settings) as residents:
        app = create_app(classifier, settings, residents)
        server = Server(app, settings)
        stop_on_signals(server)
        with grpc_beside(app, settings) as grpc_address:
            _greet(classifier, settings, server.url, grpc_address)
            if token is not None:
                _tell_token(console(), token, server.url)
            if settings.log_format != "json":
                console().print("Ctrl-C stops it.", style="dim")
            answered_all = server.run()
    return 0 if answered_all else 1


def _greet(classifier: Classifier, settings: Settings, url: str, grpc_address: str | None) -> None:
    """Tells where to find the server, and how it answers; where machines read, in the log."""
    name = classifier.card.name
    hint = advice(Store(settings.home).open(name))
    if settings.log_format == "json":
        told = {"url": url, "grpc": grpc_address, "model": name, "plan": str(classifier.plan)}
        logger.info("Sightbox answers.", extra={FIELDS: told | ({"hint": hint} if hint else {})})
        return
    screen = console()
    screen.print(Text.assemble(f"Sightbox answers with {name} on ", (url, "bold")))
    if grpc_address is not None:
        screen.print(f"It answers gRPC on {grpc_address}.")
    screen.print(f"By {classifier.plan}.", style="dim")
    if hint is not None:
        screen.print(hint, style="dim")


def _tell_token(screen: Console, token: Token, url: str) -> None:
    if not token.is_new:
        screen.print(f"Who asks needs the token that is kept in {token.path}.", style="dim")
        return
    screen.print(f"Who asks needs a token. It was made now and is kept in {token.path}.")
    screen.print(Text.assemble("It is shown this once: ", (token.link(url), "bold")))
    screen.print("From other machines: with the address of this one in it.", style="dim")
