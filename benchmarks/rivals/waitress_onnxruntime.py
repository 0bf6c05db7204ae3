"""Flask on waitress and ONNX Runtime: the plain design with better parts."""

import waitress
from flask import Flask, Response, jsonify, request

from rivals.plain import Transform, arguments, run, session, top5

THREADS = 8


def create_app() -> Flask:
    """Returns the application with its model loaded once."""
    folder = arguments().folder
    transform, engine = Transform(folder), session(folder)
    app = Flask(__name__)

    @app.post("/classify")
    def classify() -> Response:
        pixels = transform(request.get_data())
        return jsonify(top5(run(engine, pixels[None])[0]))

    return app


if __name__ == "__main__":
    waitress.serve(create_app(), host="127.0.0.1", port=arguments().port, threads=THREADS)
