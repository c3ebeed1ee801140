"""Read torch checkpoints without torch: a restricted unpickler that makes tensors only.

Follows the two formats of `torch.save`: the legacy one (before 1.6: five pickles, then raw
storages) and the zip archive (`data.pkl` beside one stored entry per storage).
"""

from __future__ import annotations

import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from skerry.errors import ModelInvalid, PickleRefused

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
BFLOAT16 = "bfloat16"
STORAGE_TYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": BFLOAT16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}
REMEDY = "Save the tensors alone: torch.save(model.state_dict(), 'model.pth'), or use safetensors."
BROKEN_PICKLE = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    UnicodeDecodeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True, slots=True)
class _StorageType:
    name: str


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    type: str
    count: int

    @property
    def item_bytes(self) -> int:
        return 2 if self.type == BFLOAT16 else np.dtype(self.type).itemsize


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """Makes plain values, (ordered) dicts and tensor descriptions; refuses every other global."""

    def __init__(self, file: IO[bytes], *, path: Path) -> None:
        super().__init__(file)
        self.path = path
        self.storages: dict[str, _Storage] = {}
        # Made anew for each load: a pickle may set attributes on what it was given.
        self.allowed: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): type("OrderedDict", (OrderedDict,), {}),
            ("torch._utils", "_rebuild_tensor_v2"): _make_tensor_builder(),
            ("torch._utils", "_rebuild_tensor"): _make_tensor_builder(),
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
        }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self.allowed:
            return self.allowed[module, name]
        if module == "torch" and name in STORAGE_TYPES:
            return _StorageType(name)
        raise PickleRefused(
            f"{self.path.name} holds more than tensors: it asks for '{module}.{name}', "
            "which was not loaded.",
            remedy=REMEDY,
        )

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _location, count, *view = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType) or any(view):
            raise pickle.UnpicklingError("a reference that is no plain storage")
        storage = _Storage(str(key), STORAGE_TYPES[storage_type.name], int(count))
        return self.storages.setdefault(storage.key, storage)


def _make_tensor_builder() -> Callable[..., _Tensor]:
    def build(storage: Any, offset: Any, shape: Any, strides: Any, *_unused: Any) -> _Tensor:
        if not isinstance(storage, _Storage):
            raise pickle.UnpicklingError("a tensor without a storage")
        numbers = (offset, *shape, *strides)
        if not all(type(n) is int and n >= 0 for n in numbers) or len(shape) != len(strides):
            raise pickle.UnpicklingError("a tensor of impossible shape")
        return _Tensor(storage, offset, tuple(shape), tuple(strides))

    return build


def read_checkpoint(path: Path) -> dict[str, NDArray[Any]]:
    """Tensors of a `.pth`, `.pt` or `.bin` file by name; bfloat16 comes as float32.

    Accepts a state dict, or a dict that holds one under `state_dict`, `model_state_dict` or
    `model`. Raises PickleRefused naming the first global that is not part of a tensor, and
    ModelInvalid for a damaged file or one without tensors.
    """
    try:
        if zipfile.is_zipfile(path):
            return _read_zip(path)
        return _read_legacy(path)
    except (*BROKEN_PICKLE, zipfile.BadZipFile) as error:
        raise ModelInvalid(
            f"{path.name} is not a readable torch checkpoint: {_first_line(error)}.",
            remedy=REMEDY,
        ) from error


def _read_zip(path: Path) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        pickle_name = next((n for n in names if n.endswith("/data.pkl")), None)
        if pickle_name is None:
            raise pickle.UnpicklingError("the archive has no data.pkl")
        prefix = pickle_name.removesuffix("data.pkl")
        order = f"{prefix}byteorder"
        if order in names and archive.read(_stored(archive, order)) != b"little":
            raise pickle.UnpicklingError("its byte order is not little-endian")
        with archive.open(_stored(archive, pickle_name)) as file:
            tensors = find_tensors(_Unpickler(file, path=path).load(), path=path)
        return _materialize(tensors, lambda s: _zip_storage(archive, f"{prefix}data/{s.key}", s))


def _zip_storage(archive: zipfile.ZipFile, name: str, storage: _Storage) -> bytes:
    entry = _stored(archive, name)
    if entry.file_size < storage.count * storage.item_bytes:
        raise pickle.UnpicklingError("a storage shorter than it says")
    return archive.read(entry)


def _stored(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """An entry as torch writes it: a compressed one could unpack to any size."""
    entry = archive.getinfo(name)
    if entry.compress_type != zipfile.ZIP_STORED:
        raise pickle.UnpicklingError(f"the entry {name} is compressed")
    return entry


def _read_legacy(path: Path) -> dict[str, NDArray[Any]]:
    with path.open("rb") as file:
        if _Unpickler(file, path=path).load() != LEGACY_MAGIC:
            raise pickle.UnpicklingError("it does not begin as torch.save writes")
        if _Unpickler(file, path=path).load() != LEGACY_PROTOCOL:
            raise pickle.UnpicklingError("an unknown protocol of torch.save")
        if not _Unpickler(file, path=path).load()["little_endian"]:
            raise pickle.UnpicklingError("its byte order is not little-endian")
        unpickler = _Unpickler(file, path=path)
        tensors = find_tensors(unpickler.load(), path=path)
        keys = _Unpickler(file, path=path).load()
        raw = {key: _legacy_storage(file, unpickler.storages[key]) for key in keys}
        return _materialize(tensors, lambda storage: raw[storage.key])


def _legacy_storage(file: IO[bytes], storage: _Storage) -> bytes:
    (count,) = struct.unpack("<q", file.read(8))
    if count != storage.count:
        raise pickle.UnpicklingError("a storage of another length than announced")
    data = file.read(count * storage.item_bytes)
    if len(data) != count * storage.item_bytes:
        raise EOFError("the file ends within a storage")
    return data


def find_tensors(loaded: Any, *, path: Path) -> dict[str, _Tensor]:
    """The state dict in what was loaded; ModelInvalid when there is none."""
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    if not isinstance(loaded, Mapping):
        raise ModelInvalid(f"{path.name} holds no state dict.", remedy=REMEDY)
    tensors = {str(name): value for name, value in loaded.items() if isinstance(value, _Tensor)}
    others = [str(name) for name, value in loaded.items() if not isinstance(value, _Tensor)]
    if not tensors or others:
        what = f"'{others[0]}' is no tensor" if others else "it is empty"
        raise ModelInvalid(f"{path.name} holds no state dict: {what}.", remedy=REMEDY)
    return tensors


def _materialize(
    tensors: Mapping[str, _Tensor], read: Callable[[_Storage], bytes]
) -> dict[str, NDArray[Any]]:
    storages: dict[str, NDArray[Any]] = {}
    arrays: dict[str, NDArray[Any]] = {}
    for name, tensor in tensors.items():
        key = tensor.storage.key
        if key not in storages:
            storages[key] = _decode(read(tensor.storage), tensor.storage)
        arrays[name] = _view(storages[key], tensor)
    return arrays


def _decode(data: bytes, storage: _Storage) -> NDArray[Any]:
    if storage.type == BFLOAT16:
        words = np.frombuffer(data, "<u2", count=storage.count).astype("<u4")
        return (words << 16).view("<f4")
    return np.frombuffer(data, storage.type, count=storage.count)


def _view(flat: NDArray[Any], tensor: _Tensor) -> NDArray[Any]:
    """The tensor's elements, contiguous; every index is held against the storage first."""
    last = tensor.offset + sum(
        (n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True)
    )
    empty = 0 in tensor.shape
    # More elements than the storage has would be an expanded view: a few bytes, any size.
    if not empty and (last >= flat.size or math.prod(tensor.shape) > flat.size):
        raise pickle.UnpicklingError("a tensor that reaches beyond its storage")
    if empty:
        return np.zeros(tensor.shape, flat.dtype)
    strides = [stride * flat.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides)
    return np.asarray(view, order="C")  # a copy only where the elements do not lie in order


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
