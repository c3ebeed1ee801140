"""Pull one model in a process of its own, printing its steps: `pull_child FOLDER ENTRY_JSON`."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from skerry.models.catalogue import CatalogueEntry
from skerry.models.store import ModelStore

entry = msgspec.json.decode(sys.argv[2], type=CatalogueEntry)
store = ModelStore(Path(sys.argv[1]), known={entry.name: entry})
store.pull(entry.name, progress=lambda step: print(step.step, flush=True))
