"""What is measured beside the ways, in a process of its own: the machine's roofs, and the tips.

``python -m sightbox.benchmark.beside`` reads its order from its input, and prints one line of JSON.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from sightbox.benchmark.report import Json
from sightbox.benchmark.roofline import Roofs, measure_roofs, roofline
from sightbox.benchmark.tips import failed_tips, measure_tips
from sightbox.graphs.work import work_of
from sightbox.model import EXACT, Model, graph_file
from sightbox.store import Store

STEP = "limits and tips"
"""What progress is told while it lasts."""


def measure_beside(store: Store, model: Model, rows: list[Json], *, with_torch: bool) -> Json:
    """Returns what a report has besides its rows.

    Args:
        store: Where the model is.
        model: The model.
        rows: The report's rows.
        with_torch: Whether to try the tips of PyTorch, where it is installed.
    """
    order = {"home": str(store.home), "model": model.card.name, "torch": with_torch}
    done = subprocess.run(
        [sys.executable, "-m", "sightbox.benchmark.beside"],
        input=json.dumps(order),
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        problem = f"The process that tries the tips ended with the code {done.returncode}."
        return {"tips": failed_tips(problem), "roofline": None}
    found = json.loads(done.stdout)
    work = work_of(model.read(graph_file(EXACT)))
    return {"tips": found["tips"], "roofline": roofline(Roofs(**found["roofs"]), work, rows)}


def main() -> None:
    """Measures what the order asks for."""
    # Ctrl-C reaches all processes of a terminal; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a runtime prints must not come into the answer.
    told = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    order = json.loads(sys.stdin.read())
    # The roofs come first: runtimes leave threads that wait in a loop for more work.
    roofs = vars(measure_roofs())
    model = Store(Path(order["home"])).open(order["model"])
    tips = measure_tips(model, with_torch=order["torch"])
    print(json.dumps({"roofs": roofs, "tips": tips}), file=told, flush=True)


if __name__ == "__main__":
    main()
