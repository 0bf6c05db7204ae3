"""HTTP: the Flask application, its routes, its guard, and the server that runs it."""
