"""``python -m sightbox``: the command line."""

from sightbox.cli.main import run

run()
