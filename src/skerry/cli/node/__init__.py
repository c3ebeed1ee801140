"""Commands over a node."""
