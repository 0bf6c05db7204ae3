"""One request for each part of the HTTP surface: the page, its files, the API, every dialect."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import sightbox.web

STATIC = Path(sightbox.web.__file__).parent / "static"

JSON = {"Content-Type": "application/json"}

LOOKS = (
    "/v1/info",
    "/v1/models",
    "/v1/labels",
    "/livez",
    "/readyz",
    "/metrics",
    "/v2",
    "/v2/health/ready",
    "/v2/models/stats",
    "/ping",
)
"""What is only looked at."""


BOUNDARY = "a-boundary-that-no-photo-holds"


@dataclass(frozen=True)
class Call:
    """A request.

    Attributes:
        name: The part of the surface that it stands for.
        path: Path and query.
        body: What is posted; None for a GET.
        names: Text that the answer must hold; empty where any will do.
        headers: Header fields.
    """

    name: str
    path: str
    body: bytes | None = None
    names: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def calls(model: str, photo: bytes, index: int, label: str) -> Iterator[Call]:
    """Yields the requests.

    Args:
        model: Name of the model that is served.
        photo: An image file.
        index: Number of the class that must be named.
        label: Its English name.
    """
    yield Call("page", "/?lang=en")
    yield Call("page in Chinese", "/?lang=zh")
    yield Call("page without JavaScript", "/?lang=en", *_form(photo, label))
    yield Call("page that teaches", "/how-it-works?lang=en")
    yield Call("page that compares", "/compare?lang=en")
    yield Call("page for exhibitions", "/kiosk?lang=en")
    yield Call("page of the benchmark", "/benchmark?lang=en")
    yield Call("page that describes the API", "/docs?lang=en")
    yield Call("page as an app", "/manifest.webmanifest?lang=en")
    yield Call("page for when the box is off", "/offline?lang=en")
    yield Call("description of the API", "/openapi.json")
    for path in sorted(path for path in STATIC.rglob("*") if path.is_file()):
        name = path.relative_to(STATIC).as_posix()
        yield Call(f"page: {name}", f"/static/{name}")
    for path_looked_at in LOOKS:
        yield Call(path_looked_at, path_looked_at)
    said = json.dumps(label, ensure_ascii=False)
    yield Call("/v1/classify", "/v1/classify", photo, f'"index":{index},')
    # The stages are always those of the exact network, whatever answers elsewhere.
    yield Call("/v1/walkthrough", "/v1/walkthrough", photo, '"softmax"')
    question = _open_inference(photo)
    path_v2 = f"/v2/models/{model}_image/infer"
    yield Call("Open Inference Protocol", path_v2, question, f":{index}:", JSON)
    yield Call("TorchServe", f"/predictions/{model}", photo, said)
    yield Call("Hugging Face", f"/models/{model}", photo, said)
    url = f"data:image/png;base64,{base64.b64encode(photo).decode()}"
    vision = json.dumps({"images": [url]}).encode()
    yield Call("PhotoPrism", "/api/v1/vision/labels", vision, said, JSON)


def _form(photo: bytes, label: str) -> tuple[bytes, str, Mapping[str, str]]:
    """Returns the form of the page as a body, what its answer names, and the headers."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="photo"\r\n\r\n'
    body = head.encode() + photo + f"\r\n--{BOUNDARY}--\r\n".encode()
    return body, label, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def _open_inference(photo: bytes) -> bytes:
    tensor = {
        "name": "images",
        "datatype": "BYTES",
        "shape": [1],
        "parameters": {"content_type": "base64"},
        "data": [base64.b64encode(photo).decode()],
    }
    wanted = {"name": "probabilities", "parameters": {"classification": 1}}
    return json.dumps({"inputs": [tensor], "outputs": [wanted]}).encode()
