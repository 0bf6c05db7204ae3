"""mosec and ONNX Runtime: stages as processes, with mosec's batching in the second one."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from mosec import Server, Worker

from rivals.plain import Floats, Transform, run, session, top5

FOLDER = "RIVAL_FOLDER"
"""The variable that names the model's folder: mosec's workers see mosec's own arguments alone."""


class Preprocess(Worker):
    """Makes pixels of a photo."""

    def __init__(self) -> None:
        self.transform = Transform(Path(os.environ[FOLDER]))

    def deserialize(self, data: bytes) -> bytes:
        """Takes the raw body."""
        return data

    def forward(self, data: bytes) -> Floats:
        """Returns float32 [3, H, W]."""
        return self.transform(data)


class Inference(Worker):
    """Runs batches."""

    def __init__(self) -> None:
        self.engine = session(Path(os.environ[FOLDER]))

    def forward(self, data: list[Floats]) -> list[dict[str, Any]]:
        """Returns the answers to a batch."""
        return [top5(row) for row in run(self.engine, np.stack(data))]

    def serialize(self, data: dict[str, Any]) -> bytes:
        """Writes one answer."""
        return json.dumps(data).encode()


if __name__ == "__main__":
    server = Server()
    server.append_worker(Preprocess, num=os.cpu_count() or 1)
    server.append_worker(Inference, num=1, max_batch_size=8, max_wait_time=5)
    server.run()
