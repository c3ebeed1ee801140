"""`POST /api/recognize`, point by point as the HTTP contract has it."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from calls import metric, part, refused, store, unique

from pictures import encoded, jpeg, photo, png

FIELDS = {
    "labels", "similar_images", "suggested_tags", "feature_vector", "total_time_ms",
    "inference_time_ms", "search_time_ms", "metadata_time_ms", "cache", "model", "request_id",
}  # fmt: skip


def recognized(client: httpx.Client, data: bytes, **query: Any) -> dict[str, Any]:
    answer = client.post("/api/recognize", files=[part(data)], params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_an_answer_has_every_field_of_the_contract(client: httpx.Client) -> None:
    store(client)
    answer = client.post("/api/recognize", files=[part(jpeg())])
    found = answer.json()
    assert set(found) == FIELDS
    assert len(found["labels"]) == 5
    for label in found["labels"]:
        assert set(label) == {"label", "index", "probability"}
        assert label["label"]
    probabilities = [label["probability"] for label in found["labels"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0 < sum(probabilities) <= 1.0001
    for match in found["similar_images"]:
        assert set(match) == {"id", "filename", "uploaded_by", "created_at", "similarity_score"}
    scores = [match["similarity_score"] for match in found["similar_images"]]
    assert scores == sorted(scores, reverse=True)
    assert found["cache"] == "miss"
    assert found["model"]["name"] == "efficientnet-lite2"
    assert {"name", "precision", "fingerprint"} <= set(found["model"])
    assert found["request_id"] == answer.headers["x-request-id"]
    times = [found[name] for name in FIELDS if name.endswith("_time_ms")]
    assert all(isinstance(value, float) and value >= 0 for value in times)
    assert found["total_time_ms"] >= found["inference_time_ms"] > 0


def test_the_feature_vector_is_normalised_and_as_long_as_the_models(client: httpx.Client) -> None:
    vector = recognized(client, jpeg())["feature_vector"]
    (model,) = [m for m in client.get("/api/models").json()["models"] if m["default"]]
    assert len(vector) == model["embedding_size"]
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-4)


def test_every_form_of_the_body_gives_the_same_answer(client: httpx.Client) -> None:
    data = jpeg()
    text = base64.b64encode(data).decode()
    raw = {"content": data}
    bodies: list[dict[str, Any]] = [
        {"files": [part(data)]},
        {"files": [part(data, "x.png", "image/png")]},
        {"json": {"image": text}},
        {"json": {"image": f"data:image/jpeg;base64,{text}"}},
        raw,
        *(
            {**raw, "headers": {"content-type": kind}}
            for kind in (
                "application/x-www-form-urlencoded", "image/png", "text/plain", "",
                "application/json", "video/mp4", "nonsense; x=;",
            )
        ),
    ]  # fmt: skip
    first = recognized(client, data)
    for body in bodies:
        answer = client.post("/api/recognize", **body)
        assert answer.status_code == 200, (body.get("headers"), answer.text)
        assert answer.json()["labels"] == first["labels"]
        assert answer.json()["feature_vector"] == first["feature_vector"]
        assert answer.json()["cache"] == "hit"


def test_a_chunked_body_is_read_as_a_whole_one(client: httpx.Client) -> None:
    data = jpeg()
    pieces = (data[i : i + 100] for i in range(0, len(data), 100))
    answer = client.post("/api/recognize", content=pieces)
    assert answer.json()["labels"] == recognized(client, data)["labels"]


def test_labels_limit_and_features_do_what_they_say(client: httpx.Client) -> None:
    data = jpeg()
    for _ in range(3):
        store(client)
    assert len(recognized(client, data, labels=1)["labels"]) == 1
    assert len(recognized(client, data, labels=100)["labels"]) == 100
    assert recognized(client, data, labels=0)["labels"] == []
    assert len(recognized(client, data, limit=2)["similar_images"]) == 2
    nothing = recognized(client, data, limit=0)
    assert (nothing["similar_images"], nothing["suggested_tags"]) == ([], [])
    for written in ("false", "0"):
        assert "feature_vector" not in recognized(client, data, features=written)
    assert "feature_vector" in recognized(client, data, features="true")


def test_the_model_can_be_named(client: httpx.Client) -> None:
    data = jpeg()
    assert recognized(client, data, model="efficientnet-lite2")["model"]["name"] == (
        "efficientnet-lite2"
    )
    for unknown in ("resnet9000", "../../etc", "x" * 500, "é"):
        answer = client.post("/api/recognize", params={"model": unknown}, content=data)
        refused(answer, 400, 404)


@pytest.mark.parametrize(
    "query",
    [
        "limit=101", "limit=-1", "limit=nan", "limit=1.5", "limit=inf", "limit=",
        "limit=9223372036854775808", "labels=101", "labels=-1", "labels=x", "features=maybe",
        "features=", "colour=red", "limit=1&limit=2", "%ff=1", "a%00b=1", "limit=%F0%9F%98%80",
    ],
)  # fmt: skip
def test_a_wrong_query_is_refused(client: httpx.Client, query: str) -> None:
    refused(client.post(f"/api/recognize?{query}", content=jpeg()), 400)


def test_an_unknown_query_parameter_is_named(client: httpx.Client) -> None:
    error = refused(client.post("/api/recognize?top_k=3", content=jpeg()), 400)
    assert (error["code"], "'top_k'" in error["message"]) == ("unknown_field", True)


def test_the_stages_stand_in_the_header_and_a_hit_decodes_nothing(client: httpx.Client) -> None:
    data = jpeg()
    store(client)

    def stages(answer: httpx.Response) -> dict[str, float]:
        told = [stage.split(";dur=") for stage in answer.headers["server-timing"].split(", ")]
        return {name: float(value) for name, value in told}

    miss = client.post("/api/recognize", content=data)
    assert list(stages(miss)) == [
        "cache", "decode", "queue", "inference", "search", "metadata", "total",
    ]  # fmt: skip
    hit = client.post("/api/recognize", content=data)
    assert list(stages(hit)) == ["cache", "search", "metadata", "total"]
    assert hit.json()["cache"] == "hit"
    told = stages(miss)
    parts = sum(value for name, value in told.items() if name != "total")
    assert parts <= told["total"] * 1.05


@pytest.mark.parametrize("given", ["a", "till-3 order #77 ~!", "x" * 128])
def test_the_callers_request_id_is_kept(client: httpx.Client, given: str) -> None:
    answer = client.post("/api/recognize", content=jpeg(), headers={"x-request-id": given})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == given
    failed = client.post("/api/recognize", content=b"x", headers={"x-request-id": given})
    assert refused(failed, 400)["request_id"] == given


@pytest.mark.parametrize("given", [b"", b"x" * 129, b"caf\xe9", b"a\tb", b"\xf0\x9f\x98\x80"])
def test_an_unfit_request_id_is_replaced(client: httpx.Client, given: bytes) -> None:
    seen = set()
    for _ in range(2):
        answer = client.get("/healthz", headers=[(b"x-request-id", given)])
        seen.add(answer.headers["x-request-id"])
    assert len(seen) == 2
    assert all(1 <= len(name) <= 128 and name.isascii() for name in seen)


def test_tags_of_like_images_are_suggested_with_their_votes(fast_node: Callable[..., Any]) -> None:
    with fast_node().client() as client:
        base = photo(size=(160, 120))
        for quality in (70, 80, 90):
            store(client, encoded(base, "JPEG", quality=quality), tags='{"shelf": "3"}')
        store(client, encoded(base, "JPEG", quality=60), tags='{"shelf": 3}')
        found = recognized(client, encoded(base, "JPEG", quality=95))
        best, second = found["suggested_tags"]
        assert set(best) == {"name", "value", "confidence", "votes"}
        assert (best["name"], best["value"], best["votes"]) == ("shelf", "3", 3)
        assert (second["value"], second["votes"]) == (3, 1)
        assert 1 >= best["confidence"] > second["confidence"] > 0
        image = found["similar_images"][0]["id"]
        client.patch(f"/api/images/{image}", json={"tags": {"class": "till"}})
        names = {t["name"] for t in recognized(client, jpeg(seed=1))["suggested_tags"]} | {
            t["name"] for t in recognized(client, encoded(base, "PNG"))["suggested_tags"]
        }
        assert {"shelf", "class"} <= names


def test_recognising_stores_nothing(client: httpx.Client) -> None:
    before = client.get("/api/images").json()["total"]
    who = unique()
    data = jpeg()
    for _ in range(3):
        recognized(client, data)
    assert client.get("/api/images", params={"uploaded_by": who}).json()["total"] == 0
    found = recognized(client, data)["similar_images"]
    assert all(match["similarity_score"] < 0.99999 for match in found)
    assert before <= client.get("/api/images").json()["total"]


def test_rows_of_similar_images_are_never_stale(client: httpx.Client) -> None:
    data = jpeg()
    image = store(client, data, uploaded_by="ann")
    for name in ("one.jpg", "two.jpg"):
        client.patch(f"/api/images/{image['id']}", json={"filename": name})
        match = recognized(client, data, limit=1)["similar_images"][0]
        assert (match["id"], match["filename"]) == (image["id"], name)
    client.delete(f"/api/images/{image['id']}")
    assert image["id"] not in [m["id"] for m in recognized(client, data)["similar_images"]]


def test_equal_images_in_flight_share_one_inference(fast_node: Callable[..., Any]) -> None:
    node = fast_node()
    data = encoded(photo(size=(1600, 1200)), "JPEG", quality=95)

    with node.client() as client:

        def ask(_: int) -> dict[str, Any]:
            return recognized(client, data)

        before = metric(client, "inference_duration_seconds_count")
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(ask, range(20)))
        assert metric(client, "inference_duration_seconds_count") == before + 1
        counted = {
            result: metric(client, "skerry_cache_lookups_total", result=result)
            for result in ("hit", "miss", "shared")
        }
    assert counted["miss"] == 1
    assert sum(counted.values()) == 20
    assert len({json.dumps(answer["feature_vector"]) for answer in answers}) == 1


def test_different_images_at_once_do_not_get_each_others_answers(client: httpx.Client) -> None:
    images = [jpeg() for _ in range(12)]

    def vector(data: bytes) -> list[float]:
        found: list[float] = recognized(client, data)["feature_vector"]
        return found

    with ThreadPoolExecutor(12) as pool:
        at_once = list(pool.map(vector, images))
    alone = [vector(data) for data in images]
    assert at_once == alone
    assert len({json.dumps(v) for v in alone}) == 12


def test_lossless_forms_of_one_photo_have_the_same_features(client: httpx.Client) -> None:
    image = photo(size=(90, 90))
    vectors = [
        recognized(client, encoded(image, kind, **options))["feature_vector"]
        for kind, options in (
            ("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True}),
        )
    ]  # fmt: skip
    for vector in vectors[1:]:
        assert math.isclose(float(np.dot(vector, vectors[0])), 1, abs_tol=1e-4)


def test_an_upload_warms_the_cache_for_recognise_and_search(client: httpx.Client) -> None:
    data = png()
    store(client, data)
    assert recognized(client, data)["cache"] == "hit"
    search = client.post("/api/images/search", files=[part(data)])
    assert "inference" not in search.headers["server-timing"]
