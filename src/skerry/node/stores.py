"""Open what holds the truth: rows, bytes, keys, jobs and the key-value store."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass

from skerry.auth.keys import KeyRing
from skerry.auth.local import remove_local_key, write_local_key
from skerry.backends import open_backend
from skerry.blobs.files import FileBlobs
from skerry.config import Settings
from skerry.jobs.board import JobBoard
from skerry.kv.base import KeyValueStore
from skerry.node.folder import lock_folder, sync_folders
from skerry.sql.sqlite import SqliteDatabase


@dataclass(frozen=True, slots=True)
class Stores:
    """The open stores of one data folder."""

    db: SqliteDatabase
    blobs: FileBlobs
    kv: KeyValueStore
    keys: KeyRing
    jobs: JobBoard


async def open_stores(settings: Settings, stack: AsyncExitStack) -> Stores:
    """Lock the data folder and open what lies in it; `stack` closes it in reverse order.

    Raises StoreUnavailable, StorageFull.
    """
    data = settings.data_folder
    stack.callback(os.close, lock_folder(data))
    db = await asyncio.to_thread(SqliteDatabase, data / "skerry.db")
    stack.push_async_callback(db.close)
    kv: KeyValueStore = open_backend("kv", settings.kv, folder=data)
    stack.push_async_callback(kv.close)
    secret = write_local_key(data)
    stack.callback(remove_local_key, data, secret)
    keys = KeyRing(db, local_secret=secret)
    stack.push_async_callback(keys.store_use)
    sync_folders(data, data.parent)
    jobs = JobBoard(db)
    await jobs.recover()
    stack.push_async_callback(jobs.close)
    return Stores(db, FileBlobs(data / "blobs"), kv, keys, jobs)
