"""The process that proves that no network is needed: ``python -m sightbox.cli.isolated``.

It leaves the network before anything that starts threads is loaded: a namespace is a thread's own.
`sightbox.cli.verify` starts it and reads its findings, one a line, as JSON.
"""

import json
from dataclasses import asdict

from sightbox.offline import (
    deny_connections,
    enter_empty_network,
    interfaces,
    reason_of_no_route,
)


def main() -> None:
    """Leaves the network, runs the surface, and prints what it finds."""
    namespace = interfaces() if enter_empty_network() else None
    reason = reason_of_no_route() if namespace is not None else None
    tries = deny_connections()
    # Not before: it loads NumPy, which starts threads.
    from sightbox.cli.surface import findings  # noqa: PLC0415

    for finding in findings(namespace, reason, tries):
        print(json.dumps(asdict(finding)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
