"""Flask's own threaded server and PyTorch eager: the plain design."""

import io
import json

import torch
import torchvision
from flask import Flask, Response, jsonify, request
from PIL import Image
from safetensors.torch import load_file
from torchvision.transforms import InterpolationMode, v2

from rivals.plain import arguments


def create_app() -> Flask:
    """Returns the application with its model loaded once."""
    folder = arguments().folder
    card = json.loads((folder / "model.json").read_text("utf-8"))
    model = torchvision.models.get_model(card["architecture"], weights=None)
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    model.eval()
    recipe = card["recipe"]
    transform = v2.Compose(
        [
            v2.Resize(recipe["resize"], InterpolationMode(recipe["interpolation"])),
            v2.CenterCrop(recipe["crop"]),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(card["mean"], card["std"]),
        ]
    )
    app = Flask(__name__)

    @app.post("/classify")
    def classify() -> Response:
        image = Image.open(io.BytesIO(request.get_data())).convert("RGB")
        with torch.inference_mode():
            scores = model(transform(image).unsqueeze(0))[0].softmax(0)
        best = scores.topk(5)
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return jsonify(predictions=[{"index": i, "score": s} for i, s in pairs])

    return app


if __name__ == "__main__":
    create_app().run(port=arguments().port, threaded=True)
