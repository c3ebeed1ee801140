"""What the words of a JSON schema hold: schemas, names of schemas, or plain values."""

from __future__ import annotations

NAMED = ("properties", "patternProperties", "$defs", "definitions")
"""Under these the keys are names, and no keywords."""
VALUES = ("enum", "const", "default", "examples")
"""Under these stands no schema."""
