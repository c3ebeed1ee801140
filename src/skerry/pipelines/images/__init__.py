"""Flows over images, one a file."""
