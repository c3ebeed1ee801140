"""Pull one model in a process of its own: `pull_child FOLDER ENTRY_JSON`."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from skerry.models.catalogue import CatalogueEntry
from skerry.models.store import ModelStore

entry = msgspec.json.decode(sys.argv[2], type=CatalogueEntry)
ModelStore(Path(sys.argv[1]), known={entry.name: entry}).pull(entry.name)
