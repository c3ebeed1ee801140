"""`/api/images`, point by point as the HTTP contract has it."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from calls import metric, part, refused, store, unique
from PIL import Image

from pictures import jpeg, photo, png

FIELDS = {
    "id", "sha256", "filename", "media_type", "width", "height", "bytes", "uploaded_by",
    "created_at", "tags", "labels",
}  # fmt: skip


def test_a_stored_image_comes_back_with_every_field_of_the_contract(client: httpx.Client) -> None:
    data = jpeg(size=(120, 80))
    before = int(time.time())
    answer = client.post(
        "/api/images",
        files=[part(data, "cat.jpg")],
        data={"uploaded_by": "ann", "tags": '{"shelf": "3", "row": 4, "open": true, "w": 1.5}'},
    )
    assert answer.status_code == 201
    (image,) = answer.json()["images"]
    assert set(image) == {*FIELDS, "status"}
    assert image["status"] == "created"
    assert image["sha256"] == hashlib.sha256(data).hexdigest()
    assert (image["filename"], image["media_type"]) == ("cat.jpg", "image/jpeg")
    assert (image["width"], image["height"], image["bytes"]) == (120, 80, len(data))
    assert image["uploaded_by"] == "ann"
    assert before <= image["created_at"] <= int(time.time()) + 1
    assert image["tags"] == {"shelf": "3", "row": 4, "open": True, "w": 1.5}
    assert image["tags"]["open"] is True
    assert [set(label) for label in image["labels"]] == [{"label", "index", "probability"}] * 5
    del image["status"]
    assert client.get(f"/api/images/{image['id']}").json() == image


def test_equal_bytes_are_one_image_and_the_second_upload_changes_nothing(
    client: httpx.Client,
) -> None:
    data = jpeg()
    first = store(client, data, uploaded_by="ann", tags='{"a": "1"}')
    again = client.post(
        "/api/images", files=[part(data, "other.jpg")], data={"uploaded_by": "bob", "tags": "{}"}
    )
    assert again.status_code == 200
    (image,) = again.json()["images"]
    assert image == {**first, "status": "exists"}


def test_many_files_of_one_request_keep_their_order(client: httpx.Client) -> None:
    known = jpeg()
    stored = store(client, known)
    files = [jpeg(), known, png(), jpeg()]
    answer = client.post("/api/images", files=[part(f, f"{i}.x") for i, f in enumerate(files)])
    assert answer.status_code == 201
    images = answer.json()["images"]
    assert [i["status"] for i in images] == ["created", "exists", "created", "created"]
    assert [i["sha256"] for i in images] == [hashlib.sha256(f).hexdigest() for f in files]
    assert images[1]["id"] == stored["id"]


def test_the_same_new_file_twice_in_one_request_is_stored_once(client: httpx.Client) -> None:
    data = jpeg()
    images = client.post("/api/images", files=[part(data), part(data)]).json()["images"]
    assert sorted(image["status"] for image in images) == ["created", "exists"]
    assert images[0]["id"] == images[1]["id"]


def test_a_request_of_good_and_bad_files_is_answered_207_with_each_result(
    client: httpx.Client,
) -> None:
    answer = client.post("/api/images", files=[part(jpeg()), part(b"notes", "notes.txt")])
    assert answer.status_code == 207
    good, bad = answer.json()["images"]
    assert good["status"] == "created"
    assert (bad["status"], bad["filename"]) == ("failed", "notes.txt")
    assert bad["error"]["code"] == "image_unreadable"
    assert set(bad["error"]) == {"code", "message", "remedy", "request_id"}
    assert "id" not in bad


def test_a_request_whose_every_file_fails_is_answered_400(client: httpx.Client) -> None:
    alone = client.post("/api/images", files=[part(b"notes", "notes.txt")])
    assert refused(alone, 400)["code"] == "image_unreadable"
    both = client.post("/api/images", files=[part(b"a"), part(b"b")])
    assert both.status_code == 400
    assert [image["status"] for image in both.json()["images"]] == ["failed", "failed"]


def test_a_raw_body_takes_its_names_from_the_query(client: httpx.Client) -> None:
    data = jpeg()
    answer = client.post(
        "/api/images?filename=kälte.jpg&uploaded_by=till-3",
        content=data,
        headers={"content-type": "application/octet-stream"},
    )
    assert answer.status_code == 201
    (image,) = answer.json()["images"]
    assert (image["filename"], image["uploaded_by"]) == ("kälte.jpg", "till-3")
    assert image["tags"] == {}


def test_sha256_stands_wherever_an_id_does(client: httpx.Client) -> None:
    data = jpeg()
    image = store(client, data)
    digest = image["sha256"]
    assert client.get(f"/api/images/{digest}").json() == image
    assert client.get(f"/api/images/{digest}/file").content == data
    assert client.get(f"/api/images/{digest}/thumbnail").status_code == 200
    found = client.post("/api/images/search", json={"id": digest})
    assert found.status_code == 200
    changed = client.patch(f"/api/images/{digest}", json={"filename": "new.jpg"})
    assert changed.json()["filename"] == "new.jpg"
    assert client.delete(f"/api/images/{digest}").status_code == 204
    refused(client.get(f"/api/images/{image['id']}"), 404)


def test_patch_changes_what_is_given_and_replaces_tags_as_a_whole(client: httpx.Client) -> None:
    image = store(client, tags='{"shelf": "3", "old": true}', uploaded_by="ann")
    path = f"/api/images/{image['id']}"
    changed = client.patch(path, json={"tags": {"shelf": "4"}})
    assert changed.status_code == 200
    assert changed.json() == {**image, "tags": {"shelf": "4"}}
    changed = client.patch(path, json={"filename": "b.jpg", "uploaded_by": "bob"})
    assert changed.json() == {
        **image, "tags": {"shelf": "4"}, "filename": "b.jpg", "uploaded_by": "bob",
    }  # fmt: skip
    assert client.patch(path, json={}).json() == changed.json()
    assert client.get(path).json() == changed.json()


def test_patch_names_what_it_does_not_know(client: httpx.Client) -> None:
    image = store(client)
    path = f"/api/images/{image['id']}"
    error = refused(client.patch(path, json={"labels": []}), 400)
    assert (error["code"], "labels" in error["message"]) == ("unknown_field", True)
    for wrong in ({"tags": {"a": None}}, {"tags": {"a": [1]}}, {"tags": "x"}, {"filename": 3}, []):
        refused(client.patch(path, json=wrong), 400)
    assert client.get(path).json() == image
    refused(client.patch("/api/images/999999999", json={"tags": {}}), 404)


def test_what_is_deleted_is_gone_from_row_file_list_and_search(client: httpx.Client) -> None:
    who, data = unique(), jpeg()
    image = store(client, data, uploaded_by=who)
    path = f"/api/images/{image['id']}"
    gone = client.delete(path)
    assert (gone.status_code, gone.content) == (204, b"")
    for again in (path, f"{path}/file", f"{path}/thumbnail"):
        assert refused(client.get(again), 404)["code"] == "image_not_found"
    refused(client.delete(path), 404)
    assert client.get("/api/images", params={"uploaded_by": who}).json()["total"] == 0
    found = client.post("/api/images/search", files=[part(data)]).json()["similar_images"]
    assert image["id"] not in [match["id"] for match in found]
    refused(client.post("/api/images/search", json={"id": image["id"]}), 404)
    back = store(client, data)
    assert back["id"] != image["id"]


def test_lists_are_paged_newest_first_without_gap_or_repeat(client: httpx.Client) -> None:
    who = unique()
    ids = [store(client, uploaded_by=who)["id"] for _ in range(5)]
    seen, cursor = [], None
    for size in (2, 2, 1):
        params = {"uploaded_by": who, "limit": 2, **({"cursor": cursor} if cursor else {})}
        page = client.get("/api/images", params=params).json()
        assert set(page) == {"images", "next", "total"}
        assert (len(page["images"]), page["total"]) == (size, 5)
        seen += [image["id"] for image in page["images"]]
        cursor = page["next"]
    assert cursor is None
    assert seen == ids[::-1]


def test_a_page_goes_on_where_it_was_when_images_come_and_go(client: httpx.Client) -> None:
    who = unique()
    ids = [store(client, uploaded_by=who)["id"] for _ in range(4)]
    page = client.get("/api/images", params={"uploaded_by": who, "limit": 2}).json()
    store(client, uploaded_by=who)
    client.delete(f"/api/images/{page['images'][1]['id']}")
    rest = client.get("/api/images", params={"uploaded_by": who, "cursor": page["next"]}).json()
    assert [image["id"] for image in rest["images"]] == ids[1::-1]


def test_filters_by_tag_respect_the_value_type(client: httpx.Client) -> None:
    who = unique()
    by_value = {
        json.dumps(value): store(client, uploaded_by=who, tags=json.dumps({"v": value}))["id"]
        for value in ("3", 3, True, "true", 2.5, "", "two words", "é")
    }

    def found(text: str) -> set[int]:
        page = client.get("/api/images", params={"uploaded_by": who, "tag.v": text}).json()
        return {image["id"] for image in page["images"]}

    assert found("3") == {by_value['"3"'], by_value["3"]}
    assert found("true") == {by_value["true"], by_value['"true"']}
    assert found("1") == set()
    assert found("2.5") == {by_value["2.5"]}
    assert found("") == {by_value['""']}
    assert found("two words") == {by_value['"two words"']}
    assert found("é") == {by_value[json.dumps("é")]}
    assert found("4") == set()


def test_filters_are_joined_by_and(client: httpx.Client) -> None:
    who = unique()
    both = store(client, uploaded_by=who, tags='{"a": "1", "b": "2"}')
    store(client, uploaded_by=who, tags='{"a": "1"}')
    query = {"uploaded_by": who, "tag.a": "1", "tag.b": "2"}
    page = client.get("/api/images", params=query).json()
    assert ([image["id"] for image in page["images"]], page["total"]) == ([both["id"]], 1)
    labelled = {"uploaded_by": who, "label": both["labels"][0]["label"].split(",")[0].upper()}
    page = client.get("/api/images", params=labelled).json()
    assert both["id"] in [image["id"] for image in page["images"]]
    assert client.get("/api/images", params={"label": "no such label"}).json()["images"] == []


@pytest.mark.parametrize("form", ["seconds", "rfc3339"])
def test_times_filter_from_their_second_on_and_before(client: httpx.Client, form: str) -> None:
    who = unique()
    image = store(client, uploaded_by=who)

    def total(**bounds: int) -> int:
        def written(moment: int) -> str:
            if form == "seconds":
                return str(moment)
            return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))

        query = {name: written(moment) for name, moment in bounds.items()}
        return client.get("/api/images", params={"uploaded_by": who, **query}).json()["total"]

    at = image["created_at"]
    assert total(created_after=at) == 1
    assert total(created_after=at + 1) == 0
    assert total(created_before=at) == 0
    assert total(created_after=at, created_before=at + 1) == 1


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=1001", "limit=-1", "limit=1.5", "limit=nan", "limit=ten", "limit=",
        "limit=99999999999999999999", "limit=1&limit=2", "cursor=abc", "cursor=", "cursor=%00",
        "cursor=OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OS4x",
        "created_after=yesterday", "created_after=2026-01-01T00:00:00", "created_after=--5",
        "created_after=1e9", "created_before=99999999999999999999999", "color=red", "tags=x",
        "uploaded_by=%ff", "uploaded_by=a&uploaded_by=b", "tag.a=1&tag.a=2",
    ],
)  # fmt: skip
def test_a_wrong_query_of_the_list_is_refused(client: httpx.Client, query: str) -> None:
    refused(client.get(f"/api/images?{query}"), 400)


def test_an_unknown_parameter_is_named_with_the_known_ones(client: httpx.Client) -> None:
    error = refused(client.get("/api/images?colour=red"), 400)
    assert error["code"] == "unknown_field"
    assert "'colour'" in error["message"]
    assert "uploaded_by" in error["remedy"]


def test_the_file_is_the_original_bytes_with_its_type(client: httpx.Client) -> None:
    for data, kind in ((jpeg(), "image/jpeg"), (png(), "image/png")):
        image = store(client, data)
        answer = client.get(f"/api/images/{image['id']}/file")
        assert answer.content == data
        assert answer.headers["content-type"] == kind
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["etag"] == f'"{image["sha256"]}"'
        assert answer.headers["content-length"] == str(len(data))
        head = client.head(f"/api/images/{image['id']}/file")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(data))


def test_the_file_is_served_in_ranges_and_not_again_when_it_is_known(client: httpx.Client) -> None:
    data = jpeg()
    path = f"/api/images/{store(client, data)['id']}/file"

    def ranged(value: str, **headers: str) -> httpx.Response:
        return client.get(path, headers={"range": value, **headers})

    some = ranged("bytes=10-19")
    assert (some.status_code, some.content) == (206, data[10:20])
    assert some.headers["content-range"] == f"bytes 10-19/{len(data)}"
    assert ranged("bytes=-5").content == data[-5:]
    beyond = ranged(f"bytes={len(data)}-")
    assert refused(beyond, 416)["code"] == "range_not_satisfiable"
    assert beyond.headers["content-range"] == f"bytes */{len(data)}"
    for ignored in ("lines=0-5", "bytes=0-1,5-6", "bytes=9-1", "nonsense"):
        assert (ranged(ignored).status_code, ranged(ignored).content) == (200, data)
    head = client.head(path, headers={"range": "bytes=0-9"})
    assert (head.status_code, head.headers["content-length"], head.content) == (206, "10", b"")
    etag = some.headers["etag"]
    stale = ranged("bytes=0-3", **{"if-range": '"other"'})
    assert (stale.status_code, stale.content) == (200, data)
    assert ranged("bytes=0-3", **{"if-range": etag}).content == data[:4]
    known = client.get(path, headers={"if-none-match": etag})
    assert (known.status_code, known.content) == (304, b"")


def test_a_thumbnail_fits_its_size_and_is_never_larger_than_the_image(client: httpx.Client) -> None:
    path = f"/api/images/{store(client, jpeg(size=(400, 200)))['id']}/thumbnail"
    for size, expected in ((None, (256, 128)), (64, (64, 32)), (1024, (400, 200))):
        answer = client.get(path, params={"size": size} if size else {})
        assert answer.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(answer.content)).size == expected
    etag = answer.headers["etag"]
    assert client.get(f"{path}?size=1024", headers={"if-none-match": etag}).status_code == 304
    assert client.get(f"{path}?size=64", headers={"if-none-match": etag}).status_code == 200
    for wrong in ("15", "1025", "x", "-1"):
        refused(client.get(f"{path}?size={wrong}"), 400)


def test_a_search_finds_the_image_itself_first_and_by_reference_not_at_all(
    client: httpx.Client,
) -> None:
    who, data = unique(), jpeg()
    image = store(client, data, uploaded_by=who)
    other = store(client, uploaded_by=who)
    wanted = json.dumps({"uploaded_by": who})
    by_file = client.post(
        "/api/images/search", files=[part(data)], data={"limit": "5", "filter": wanted}
    ).json()
    assert set(by_file) == {"similar_images", "search_time_ms", "metadata_time_ms", "request_id"}
    first, second = by_file["similar_images"]
    assert set(first) == {"id", "filename", "uploaded_by", "created_at", "similarity_score"}
    assert (first["id"], second["id"]) == (image["id"], other["id"])
    assert first["similarity_score"] == pytest.approx(1, abs=1e-4)
    assert first["similarity_score"] >= second["similarity_score"]
    by_id = client.post(
        "/api/images/search", json={"id": image["id"], "filter": {"uploaded_by": who}}
    ).json()
    assert [match["id"] for match in by_id["similar_images"]] == [other["id"]]
    assert by_id["similar_images"][0]["similarity_score"] == pytest.approx(
        second["similarity_score"], abs=1e-3
    )


def test_a_search_filters_by_tags_with_their_types_and_by_time(client: httpx.Client) -> None:
    who = unique()
    ask = store(client, uploaded_by=who)
    by_tag = {
        json.dumps(value): store(client, uploaded_by=who, tags=json.dumps({"v": value}))["id"]
        for value in ("3", 3, True, 2.5)
    }

    def found(**wanted: Any) -> set[int]:
        answer = client.post(
            "/api/images/search",
            json={"id": ask["id"], "filter": {"uploaded_by": who, **wanted}},
        )
        assert answer.status_code == 200, answer.text
        return {match["id"] for match in answer.json()["similar_images"]}

    assert found() == set(by_tag.values())
    for value in ("3", 3, True, 2.5):
        assert found(tags={"v": value}) == {by_tag[json.dumps(value)]}
    at = ask["created_at"]
    assert found(created_at={"gte": at - 60, "lt": at + 60}) == set(by_tag.values())
    assert found(created_at={"lt": at - 60}) == set()


def test_a_search_sees_a_changed_tag_at_once(client: httpx.Client) -> None:
    tag = unique("shelf")
    ask, image = store(client), store(client)
    for value in ("a", "b", "c"):
        client.patch(f"/api/images/{image['id']}", json={"tags": {tag: value}})
        for wanted, expected in ((value, [image["id"]]), ("z", [])):
            found = client.post(
                "/api/images/search", json={"id": ask["id"], "filter": {"tags": {tag: wanted}}}
            ).json()
            assert [match["id"] for match in found["similar_images"]] == expected


@pytest.mark.parametrize(
    "body",
    [
        {}, {"id": 1.5}, {"id": None}, {"id": 1, "limit": 0}, {"id": 1, "limit": 101},
        {"id": 1, "limit": "x"}, {"id": 1, "extra": 1}, {"id": 1, "filter": {"x": 1}},
        {"id": 1, "filter": {"tags": {"a": None}}}, {"id": 1, "filter": {"created_at": {"gt": {}}}},
        {"id": 1, "filter": []}, [],
    ],
)  # fmt: skip
def test_a_wrong_search_is_refused(client: httpx.Client, body: Any) -> None:
    refused(client.post("/api/images/search", json=body), 400)


@pytest.mark.parametrize("field", ["limit=0", "limit=101", "limit=x", "filter={", "other=1"])
def test_a_wrong_form_of_a_search_is_refused(client: httpx.Client, field: str) -> None:
    name, _, value = field.partition("=")
    refused(client.post("/api/images/search", files=[part(jpeg())], data={name: value}), 400)


def test_an_upload_sent_again_with_its_key_gets_its_first_answer(client: httpx.Client) -> None:
    data, key = jpeg(), {"idempotency-key": unique()}
    first = client.post("/api/images", files=[part(data)], headers=key)
    again = client.post("/api/images", files=[part(data)], headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    other = client.post("/api/images", files=[part(jpeg())], headers=key)
    assert refused(other, 409)["code"] == "conflict"


def test_a_refused_upload_may_use_its_idempotency_key_again(client: httpx.Client) -> None:
    key = {"idempotency-key": unique()}
    refused(client.post("/api/images", files=[part(b"no image")], headers=key), 400)
    assert client.post("/api/images", files=[part(jpeg())], headers=key).status_code == 201
    long = {"idempotency-key": "k" * 256}
    refused(client.post("/api/images", files=[part(jpeg())], headers=long), 400)


def test_equal_uploads_at_once_make_one_image(client: httpx.Client) -> None:
    data = jpeg()

    def upload(_: int) -> httpx.Response:
        return client.post("/api/images", files=[part(data)])

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(upload, range(12)))
    assert sorted(a.status_code for a in answers) == [200] * 11 + [201]
    assert len({a.json()["images"][0]["id"] for a in answers}) == 1


def test_equal_uploads_at_once_with_one_key_create_once(client: httpx.Client) -> None:
    data, key = jpeg(), {"idempotency-key": unique()}

    def upload(_: int) -> httpx.Response:
        return client.post("/api/images", files=[part(data)], headers=key)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(upload, range(6)))
    # While the first runs the others are told to wait; afterwards they get its answer.
    assert {a.status_code for a in answers} <= {201, 409}
    assert {a.json()["images"][0]["id"] for a in answers if a.status_code == 201} != set()


def test_uploads_and_deletes_of_the_same_bytes_at_once_leave_row_and_file_agreed(
    client: httpx.Client,
) -> None:
    data = jpeg()
    digest = hashlib.sha256(data).hexdigest()

    def act(turn: int) -> int:
        if turn % 2:
            return client.delete(f"/api/images/{digest}").status_code
        return client.post("/api/images", files=[part(data)]).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(act, range(40))) <= {200, 201, 204, 404}
    row = client.get(f"/api/images/{digest}").status_code
    file = client.get(f"/api/images/{digest}/file")
    assert (row, file.status_code) in ((200, 200), (404, 404))
    assert row == 404 or file.content == data


@pytest.mark.parametrize(
    "form",
    [
        {"tags": "{"}, {"tags": "[]"}, {"tags": '{"a": null}'}, {"tags": '{"a": {}}'},
        {"tags": '{"a": 1e999}'}, {"tags": '{"": "x"}'}, {"tags": '{"a": 99999999999999999999}'},
        {"tags": json.dumps({str(i): i for i in range(65)})},
        {"tags": json.dumps({"a": "x" * 257})},
        {"tags": '{"a": "\\ud800"}'}, {"category": "x"}, {"uploaded_by": "u" * 1025},
    ],
)  # fmt: skip
def test_wrong_form_fields_are_refused_and_nothing_is_stored(
    client: httpx.Client, form: dict[str, str]
) -> None:
    data = jpeg()
    refused(client.post("/api/images", files=[part(data)], data=form), 400)
    refused(client.get(f"/api/images/{hashlib.sha256(data).hexdigest()}"), 404)


def test_what_patch_may_set_is_bounded_as_an_upload_is(client: httpx.Client) -> None:
    path = f"/api/images/{store(client)['id']}"
    for wrong in (
        {"filename": "f" * 1025},
        {"uploaded_by": "u" * 1025},
        {"tags": {"a": "x" * 257}},
        {"tags": {str(i): i for i in range(65)}},
        {"tags": {"a": 2**70}},
    ):
        refused(client.patch(path, json=wrong), 400)


def test_an_upload_tells_its_stages_and_keeps_the_callers_request_id(client: httpx.Client) -> None:
    answer = client.post(
        "/api/images", files=[part(jpeg())], headers={"x-request-id": "till 3/order~77"}
    )
    assert answer.headers["x-request-id"] == "till 3/order~77"
    stages = [stage.split(";")[0] for stage in answer.headers["server-timing"].split(", ")]
    assert stages == ["cache", "decode", "queue", "inference", "store", "total"]


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/api/images", "DELETE", {"GET", "HEAD", "POST"}),
        ("/api/images/1", "PUT", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("/api/images/1/file", "POST", {"GET", "HEAD"}),
        ("/api/images/search", "PUT", {"POST"}),
        ("/api/recognize", "GET", {"POST"}),
        ("/healthz", "POST", {"GET", "HEAD"}),
    ],
)
def test_a_method_that_is_not_there_is_405_and_told_which_are(
    client: httpx.Client, path: str, method: str, allowed: set[str]
) -> None:
    answer = client.request(method, path)
    refused(answer, 405)
    assert {name.strip() for name in answer.headers["allow"].split(",")} >= allowed


def test_a_path_that_is_not_there_is_404_in_the_contracts_shape(client: httpx.Client) -> None:
    for path in ("/api/nothing", "/api/images/1/2/3", "/api/images/", "/api/../etc/passwd"):
        assert refused(client.get(path), 404)["code"] == "not_found"


def test_storing_is_counted(client: httpx.Client) -> None:
    labels = {"route": "/api/images", "method": "POST", "status": "201"}
    before = metric(client, "requests_total", **labels)
    store(client)
    assert metric(client, "requests_total", **labels) == before + 1


def test_uploaded_by_falls_back_to_the_keys_name(fast_node: Callable[..., Any]) -> None:
    node = fast_node()
    with node.client() as client:
        assert store(client)["uploaded_by"] == ""
        made = client.post("/api/keys", json={"name": "till-3", "scope": "write"})
    node.headers = {"authorization": f"Bearer {made.json()['secret']}"}
    with node.client() as client:
        assert store(client)["uploaded_by"] == "till-3"
        assert store(client, uploaded_by="ann")["uploaded_by"] == "ann"
        raw = client.post("/api/images", content=jpeg())
        assert raw.json()["images"][0]["uploaded_by"] == "till-3"


def test_images_last_over_a_restart(fast_node: Callable[..., Any]) -> None:
    node = fast_node()
    data = jpeg()
    with node.client() as client:
        image = store(client, data, tags='{"shelf": 3}')
        deleted = store(client)
        client.delete(f"/api/images/{deleted['id']}")
    assert node.stop() == 0
    with fast_node().client() as client:
        page = client.get("/api/images").json()
        assert page["images"] == [image]
        assert client.get(f"/api/images/{image['id']}/file").content == data
        (match,) = client.post("/api/images/search", files=[part(data)]).json()["similar_images"]
        assert match["id"] == image["id"]
        assert match["similarity_score"] == pytest.approx(1, abs=1e-4)


def test_an_image_is_found_by_the_very_next_search(client: httpx.Client) -> None:
    for _ in range(10):
        image = photo()
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        stored = store(client, buffer.getvalue())
        found = client.post("/api/images/search", files=[part(buffer.getvalue())]).json()
        assert stored["id"] in [match["id"] for match in found["similar_images"]]
