"""Flows over documents, one a file."""
