"""Other ways to serve the same network, each written as its own documentation would have it."""
