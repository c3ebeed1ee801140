"""The composition root: one file wires one part, `node.py` puts them together."""
