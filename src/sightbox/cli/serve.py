"""``sightbox serve``: the page and the API."""

import logging
from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from sightbox.cli.classify import open_classifier
from sightbox.cli.screen import console
from sightbox.machine import limit_arenas, usable_cores
from sightbox.plan import advice
from sightbox.residents import Residents
from sightbox.settings import load_settings
from sightbox.store import Store
from sightbox.web.app import create_app
from sightbox.web.second_port import grpc_beside
from sightbox.web.server import Server, stop_on_signals
from sightbox.web.tokens import Token, kept_token


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
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Waitress warns of each request that waits; waiting is what a queue is for.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    screen = console()
    with open_classifier(settings) as classifier, Residents(classifier, settings) as residents:
        app = create_app(classifier, settings, residents)
        server = Server(app, settings)
        stop_on_signals(server)
        with grpc_beside(app, settings) as grpc_address:
            name = classifier.card.name
            screen.print(Text.assemble(f"Sightbox answers with {name} on ", (server.url, "bold")))
            if grpc_address is not None:
                screen.print(f"It answers gRPC on {grpc_address}.")
            screen.print(f"By {classifier.plan}.", style="dim")
            if (hint := advice(Store(settings.home).open(name))) is not None:
                screen.print(hint, style="dim")
            if token is not None:
                _tell_token(screen, token, server.url)
            screen.print("Ctrl-C stops it.", style="dim")
            answered_all = server.run()
    return 0 if answered_all else 1


def _tell_token(screen: Console, token: Token, url: str) -> None:
    if not token.is_new:
        screen.print(f"Who asks needs the token that is kept in {token.path}.", style="dim")
        return
    screen.print(f"Who asks needs a token. It was made now and is kept in {token.path}.")
    screen.print(Text.assemble("It is shown this once: ", (token.link(url), "bold")))
    screen.print("From other machines: with the address of this one in it.", style="dim")
