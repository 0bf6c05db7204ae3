"""Loads a running server over HTTP, and tells how it answers."""
