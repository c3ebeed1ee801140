"""What a node answers, as types; fields a newer node adds are ignored."""

from __future__ import annotations

from typing import Literal

import msgspec

Tag = str | int | float | bool


class Label(msgspec.Struct, omit_defaults=True):
    """A class of the model with its probability (0..1)."""

    label: str
    probability: float
    index: int = -1


class Image(msgspec.Struct):
    """A stored image's metadata; `bytes` is its size, `created_at` Unix seconds."""

    id: int
    sha256: str
    filename: str
    media_type: str
    width: int
    height: int
    bytes: int
    created_at: int
    uploaded_by: str = ""
    tags: dict[str, Tag] = {}
    labels: list[Label] = []


class Failure(msgspec.Struct, omit_defaults=True):
    """Why something was refused."""

    code: str
    message: str
    remedy: str = ""
    request_id: str = ""


class Upload(msgspec.Struct, omit_defaults=True):
    """What became of one uploaded file: `id` and `sha256` stand there unless it failed."""

    status: Literal["created", "exists", "failed"]
    filename: str = ""
    id: int = 0
    sha256: str = ""
    labels: list[Label] = []
    tags: dict[str, Tag] = {}
    error: Failure | None = None


class Uploads(msgspec.Struct):
    """The answer to an upload, one entry a file, in order."""

    images: list[Upload]


class ImagePage(msgspec.Struct):
    """Images, newest first; `next` is the cursor of the following page."""

    images: list[Image]
    next: str | None = None
    total: int | None = None


class SimilarImage(msgspec.Struct):
    """A stored image with its cosine similarity to the one asked about."""

    id: int
    similarity_score: float
    filename: str = ""
    uploaded_by: str = ""
    created_at: int = 0


class SimilarImages(msgspec.Struct):
    """Stored images in falling order of similarity."""

    similar_images: list[SimilarImage]
    search_time_ms: float = 0.0
    metadata_time_ms: float = 0.0


class SuggestedTag(msgspec.Struct):
    """A tag that the nearest stored images carry."""

    name: str
    value: Tag
    confidence: float
    votes: int


class UsedModel(msgspec.Struct):
    """The model behind an answer."""

    name: str
    precision: str = ""
    fingerprint: str = ""
    engine: str = ""
    device: str = ""


class Recognition(msgspec.Struct):
    """The answer to `recognize`; `stages` are the milliseconds of `Server-Timing`, in order."""

    labels: list[Label]
    similar_images: list[SimilarImage]
    model: UsedModel
    suggested_tags: list[SuggestedTag] = []
    feature_vector: list[float] = []
    cache: str = ""
    total_time_ms: float = 0.0
    inference_time_ms: float = 0.0
    search_time_ms: float = 0.0
    metadata_time_ms: float = 0.0
    request_id: str = ""
    stages: dict[str, float] = {}


class Part(msgspec.Struct):
    """A part of the node: `ready`, `starting` or `failed`, and why."""

    state: str
    reason: str = ""


class RunningModel(msgspec.Struct):
    """A model as it is loaded."""

    name: str
    task: str = ""
    engine: str = ""
    device: str = ""
    precision: str = ""
    fingerprint: str = ""
    space: str = ""
    state: str = ""
    default: bool = False
    load_ms: float = 0.0


class IndexStatus(msgspec.Struct):
    """The vector index: `lag` is how many changes it has yet to apply, `progress` 0..1."""

    state: str = ""
    space: str = ""
    points: int = 0
    indexed: int = 0
    lag: int = 0
    progress: float = 1.0


class DocumentStatus(msgspec.Struct):
    """Documents stored, and their index."""

    count: int = 0
    chunks: int = 0
    index: IndexStatus = msgspec.field(default_factory=IndexStatus)


class CacheStatus(msgspec.Struct):
    """The feature cache since the node's start."""

    type: str = ""
    hits: int = 0
    misses: int = 0
    shared: int = 0
    hit_rate: float = 0.0


class Traffic(msgspec.Struct):
    """Requests over the last `window_s` seconds."""

    window_s: float = 0.0
    requests_per_s: float = 0.0
    p50_ms: float | None = None
    p95_ms: float | None = None
    errors_per_s: float = 0.0
    recognized: int = 0


class EngineStatus(msgspec.Struct):
    """Admission to the engine."""

    streams: int = 0
    queue_depth: int = 0
    queue_limit: int = 0
    batch_size_mean: float = 0.0
    inference_ms_mean: float = 0.0


class DataStatus(msgspec.Struct):
    """Where the node stores, and the space left there."""

    folder: str = ""
    free_bytes: int = 0


class Status(msgspec.Struct):
    """The node as it stands."""

    version: str
    ready: bool
    name: str = "skerry"
    url: str = ""
    started_at: int = 0
    uptime_s: float = 0.0
    open: bool = True
    parts: dict[str, Part] = {}
    models: list[RunningModel] = []
    images: int = 0
    index: IndexStatus = msgspec.field(default_factory=IndexStatus)
    documents: DocumentStatus = msgspec.field(default_factory=DocumentStatus)
    cache: CacheStatus = msgspec.field(default_factory=CacheStatus)
    traffic: Traffic = msgspec.field(default_factory=Traffic)
    engine: EngineStatus = msgspec.field(default_factory=EngineStatus)
    data: DataStatus = msgspec.field(default_factory=DataStatus)


class Key(msgspec.Struct):
    """An API key without its secret; times are Unix seconds."""

    id: str
    name: str
    scope: str
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None


class Keys(msgspec.Struct):
    """All keys."""

    keys: list[Key]


class CreatedKey(msgspec.Struct):
    """A new key and its secret, which is shown this once."""

    key: Key
    secret: str


class Job(msgspec.Struct):
    """Long work on the node."""

    id: str
    kind: str
    state: str
    done: int = 0
    total: int | None = None
    message: str = ""
    created_at: int = 0
    updated_at: int = 0

    @property
    def running(self) -> bool:
        """Whether it may still change."""
        return self.state in {"running", "queued"}


class JobAnswer(msgspec.Struct):
    """One job."""

    job: Job


class Jobs(msgspec.Struct):
    """Jobs, newest first."""

    jobs: list[Job]


def parse_server_timing(header: str) -> dict[str, float]:
    """`decode;dur=2.4, queue;dur=1.0` as `{"decode": 2.4, "queue": 1.0}` (milliseconds)."""
    stages: dict[str, float] = {}
    for entry in header.split(","):
        name, _, parameters = entry.strip().partition(";")
        duration = parameters.strip().removeprefix("dur=")
        try:
            stages[name] = float(duration)
        except ValueError:  # an entry without a duration is a mark, not a stage
            continue
    return stages
