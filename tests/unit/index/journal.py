"""A log in memory: the index's Feed for the tests."""

import asyncio

import numpy as np

from skerry.index.base import Entry, Page

SIZE = 8


class Journal:
    """Commits are seen by `after`, the latest state of each item, as the database's feed does."""

    def __init__(self, *, size=SIZE, epoch="e1"):
        self.epoch = epoch
        self.size = size
        self.items = {}
        self.entries = []
        self.asked_from = []
        self.open = asyncio.Event()
        self.open.set()
        self.random = np.random.default_rng(0)

    def put(self, item_id, *, vector=None, payload=None):
        if vector is None:
            vector = self.random.standard_normal(self.size)
        vector = np.asarray(vector, np.float32)
        self.items[item_id] = Entry(item_id, "put", vector, payload or {"by": f"u{item_id % 3}"})
        self.entries.append(item_id)
        return vector

    def delete(self, item_id):
        self.items.pop(item_id, None)
        self.entries.append(item_id)

    def head(self):
        return len(self.entries)

    async def after(self, seq, *, limit):
        self.asked_from.append(seq)
        await self.open.wait()
        ids = dict.fromkeys(self.entries[seq : seq + limit])
        found = [self.items.get(item_id, Entry(item_id, "del")) for item_id in ids]
        return Page(min(seq + limit, self.head()), found)
