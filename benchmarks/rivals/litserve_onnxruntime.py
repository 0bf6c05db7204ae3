"""LitServe and ONNX Runtime, with LitServe's batching: photos decoded in the worker's threads."""

from pathlib import Path
from typing import Annotated, Any

import litserve
import numpy as np
from fastapi import Body

from rivals.plain import Floats, Transform, arguments, run, session, top5


class Classify(litserve.LitAPI):
    """LitServe's hooks in the order in which it calls them."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - the base class's signature
        """Loads what the worker needs."""
        folder: Path = arguments().folder
        self.transform, self.engine = Transform(folder), session(folder)

    def decode_request(self, request: Annotated[bytes, Body()]) -> Floats:
        """Takes the raw body; LitServe runs it in a pool of threads for each batch."""
        return self.transform(request)

    def batch(self, inputs: list[Floats]) -> Floats:
        """Joins photos."""
        return np.stack(inputs)

    def predict(self, x: Floats) -> Floats:
        """Runs a batch."""
        return run(self.engine, x)

    def unbatch(self, output: Floats) -> list[Floats]:
        """Parts the answers."""
        return list(output)

    def encode_response(self, output: Floats) -> dict[str, Any]:
        """Answers one photo."""
        return top5(output)


if __name__ == "__main__":
    api = Classify(max_batch_size=8, batch_timeout=0.005, api_path="/classify")
    server = litserve.LitServer(api, accelerator="cpu", timeout=120)
    server.run(
        host="127.0.0.1", port=arguments().port, generate_client_file=False, log_level="warning"
    )
