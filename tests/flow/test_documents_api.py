"""`/api/documents` and `/api/search` over a real node with its real embedding model."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from calls import metric, refused, unique

import skerry
from running_node import RunningNode
from skerry.errors import DocumentNotFound

PATH = "/api/documents"
LONG = 300.0


@pytest.fixture
def texts(text_node: RunningNode) -> Iterator[httpx.Client]:
    """An HTTP client at the node with text models."""
    with text_node.client() as client:
        client.timeout = httpx.Timeout(LONG)
        yield client


@pytest.fixture
def mine(texts: httpx.Client) -> Iterator[str]:
    """A category of this test's own, emptied at its end."""
    name = unique("category")
    yield name
    texts.post(f"{PATH}/delete", json={"filter": {"category": name}}).raise_for_status()


def document(category: str, id: str | None = None, text: str = "A text.", **more: Any) -> Any:
    return {"id": id or unique("doc"), "text": text, "category": category, **more}


def post(client: httpx.Client, body: bytes | str, kind: str) -> httpx.Response:
    return client.post(PATH, content=body, headers={"content-type": kind})


def statuses(answer: httpx.Response) -> list[str]:
    return [one["status"] for one in answer.json()["documents"]]


def search(client: httpx.Client, query: str, **more: Any) -> list[dict[str, Any]]:
    answer = client.post("/api/search", json={"query": query, **more})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


# ---- adding


def test_a_document_is_stored_found_listed_and_read(texts: httpx.Client, mine: str) -> None:
    text = "# Seals\n\nThe harbour seal sleeps on the rocks at low tide.\n"
    sent = document(mine, "shore/seals é.md", text, title="Seals", timestamp=1_700_000_000,
                    metadata={"pages": 3, "open": True, "tags": ["sea", "seal"]})  # fmt: skip
    answer = texts.post(PATH, json=sent)
    assert answer.status_code == 201, answer.text
    assert answer.json() == {"documents": [{"id": sent["id"], "status": "created", "chunks": 1}]}
    assert "inference" in answer.headers["server-timing"]
    (found,) = search(texts, "Where do seals rest?", category=mine)
    assert (found["id"], found["text"]) == (sent["id"], text[found["start"] : found["end"]])
    assert {**found, **sent, "text": found["text"]} == found
    words = {found["text"][start:end] for start, end in found["highlights"]}
    assert {"Seals", "seal"} & words
    listed = texts.get(PATH, params={"category": mine}).json()
    assert (listed["total"], listed["next"]) == (1, None)
    assert {**listed["documents"][0], **sent, "chunks": 1} == {**listed["documents"][0], **sent}
    read = texts.get(f"{PATH}/{quote(sent['id'], safe='')}", params={"chunks": "true"}).json()
    assert {**read, **sent} == read
    (part,) = read["parts"]
    assert (part["text"], part["id"]) == (found["text"], found["chunk"])


def test_the_same_again_costs_nothing_and_a_change_replaces(texts: httpx.Client, mine: str) -> None:
    first = document(mine, text="The old lighthouse keeper retired in spring.")
    assert statuses(texts.post(PATH, json=first)) == ["created"]
    again = texts.post(PATH, json=first)
    assert (again.status_code, statuses(again)) == (200, ["unchanged"])
    assert "inference" not in again.headers["server-timing"]
    fields = texts.post(PATH, json={**first, "metadata": {"shelf": 3}})
    assert (fields.status_code, statuses(fields)) == (200, ["updated"])
    assert "inference" not in fields.headers["server-timing"]
    other = {**first, "text": "A bakery sells warm bread."}
    assert statuses(texts.post(PATH, json=other)) == ["updated"]
    assert [one["text"] for one in search(texts, "lighthouse keeper", category=mine)] == [
        other["text"]
    ]
    assert not search(texts, "lighthouse", category=mine, mode="keyword")
    assert texts.get(f"{PATH}/{first['id']}").json()["metadata"] == {}


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/jsonl"])
def test_lines_are_documents_and_a_bad_one_fails_alone(
    texts: httpx.Client, mine: str, kind: str
) -> None:
    good = [document(mine) for _ in range(3)]
    lines = [json.dumps(one) for one in good]
    lines[1:1] = [
        "",
        '{"id": "no text"}',
        '{"id": "x", "text": NaN}',
        "{",
        '{"id":"\\ud800","text":"a"}',
    ]
    answer = post(texts, "\n".join(lines), kind)
    assert answer.status_code == 207, answer.text
    assert statuses(answer) == ["created", *["failed"] * 4, "created", "created"]
    errors = [one["error"]["message"] for one in answer.json()["documents"][1:5]]
    assert [message.partition(":")[0] for message in errors] == [f"Line {n}" for n in (3, 4, 5, 6)]
    assert "text" in errors[0]
    assert answer.json()["documents"][1]["id"] == "no text"
    assert texts.get(PATH, params={"category": mine}).json()["total"] == 3


def test_a_table_becomes_documents_with_its_other_columns_as_metadata(
    texts: httpx.Client, mine: str
) -> None:
    long = "word " * 60_000  # beyond what Python's csv takes by itself
    table = (
        "\ufeffid,text,title,category,timestamp,price,code,sold\r\n"
        f'{mine}-a,"One, ""two""\nthree",T,{mine},2026-01-31,4.5,007,true\r\n'
        f"{mine}-b,four,,{mine},,,,\r\n"
        f"{mine}-c,five\r\n"
        f"{mine}-d,{long},,{mine},1700000000,12,x,false\r\n"
    )
    answer = post(texts, table, "text/csv; charset=utf-8")
    assert (answer.status_code, statuses(answer)) == (
        207, ["created", "created", "failed", "created"],
    )  # fmt: skip
    assert "Line 5: 2 values under 8 columns" in answer.json()["documents"][2]["error"]["message"]
    first = texts.get(f"{PATH}/{mine}-a").json()
    assert first["text"] == 'One, "two"\nthree'
    assert (first["title"], first["timestamp"]) == ("T", 1_769_817_600)
    assert first["metadata"] == {"price": 4.5, "code": "007", "sold": True}
    second = texts.get(f"{PATH}/{mine}-b").json()
    assert (second["title"], second["timestamp"], second["metadata"]) == (None, None, {})


def test_a_broken_table_is_refused_as_a_whole(texts: httpx.Client) -> None:
    assert "no column 'text'" in refused(post(texts, "id,body\n1,a\n", "text/csv"), 400)["message"]
    assert "Line 2" in refused(post(texts, 'id,text\n1,"a\n', "text/csv"), 400)["message"]
    assert "UTF-8" in refused(post(texts, b"id,text\n1,\xff\n", "text/csv"), 400)["message"]
    assert "twice" in refused(post(texts, "id,text,text\n1,a,b\n", "text/csv"), 400)["message"]


def test_files_are_read_and_named_by_their_names(texts: httpx.Client, mine: str) -> None:
    form = {"category": mine, "timestamp": "2026-01-31T12:00:00Z", "metadata": '{"shelf": 3}'}
    files = [
        ("file", (f"{mine}/boats.md", b"# Boats\n\nA boat sails to the island.", "text/markdown")),
        ("file", (f"{mine}/page.html", b"<title>Tides</title><p>High tide at noon.</p>"
                  b"<script>alert('no text')</script>", "text/html")),
        ("file", (f"{mine}/broken.pdf", b"%PDF-1.7 nothing", "application/pdf")),
        ("file", (f"{mine}/photo.jpg", b"\xff\xd8\xff\xe0 no text", "image/jpeg")),
    ]  # fmt: skip
    answer = texts.post(PATH, files=files, data=form)
    assert (answer.status_code, statuses(answer)) == (
        207, ["created", "created", "failed", "failed"],
    )  # fmt: skip
    codes = [one["error"]["code"] for one in answer.json()["documents"][2:]]
    assert codes == ["document_unreadable", "unsupported_media_type"]
    (found,) = search(texts, "When is the water high?", category=mine, limit=1)
    assert (found["id"], found["title"]) == (f"{mine}/page.html", "Tides")
    assert "alert" not in texts.get(f"{PATH}/{mine}/page.html").json()["text"]
    assert (found["timestamp"], found["metadata"]) == (1_769_860_800, {"shelf": 3})
    single = texts.post(PATH, files=files[:1], data={**form, "id": f"{mine} boats", "title": "B"})
    assert single.json()["documents"][0]["id"] == f"{mine} boats"
    assert texts.get(f"{PATH}/{mine} boats").json()["title"] == "B"


def test_a_lone_file_or_object_that_fails_is_the_answer_s_own_error(texts: httpx.Client) -> None:
    file = {"file": ("a.pdf", b"%PDF-1.7 nothing", "application/pdf")}
    assert refused(texts.post(PATH, files=file), 422)["code"] == "document_unreadable"
    assert refused(texts.post(PATH, json={"id": "a", "text": " "}), 400)["code"] == "field_refused"
    listed = texts.post(PATH, json=[{"id": "a", "text": " "}])
    assert (listed.status_code, statuses(listed)) == (400, ["failed"])


def test_one_idempotency_key_stores_once(texts: httpx.Client, mine: str) -> None:
    head = {"idempotency-key": unique()}
    sent = document(mine)
    first = texts.post(PATH, json=sent, headers=head)
    second = texts.post(PATH, json=sent, headers=head)
    assert statuses(first) == statuses(second) == ["created"]
    assert second.headers["idempotent-replayed"] == "true"
    refused(texts.post(PATH, json=document(mine), headers=head), 409)


# ---- bad input


BAD = {
    "id of 10 KB": {"id": "x" * 10_240},
    "no id": {"id": ""},
    "NUL in the id": {"id": "a\0b"},
    "deep metadata": {"metadata": {"a": [[1]]}},
    "object as metadata": {"metadata": {"a": {"b": 1}}},
    "null as metadata": {"metadata": {"a": None}},
    "huge number": {"metadata": {"a": 1 << 70}},
    "number too large to be one": {"metadata": {"a": 1e308 * 1}, "timestamp": 10**30},
    "a name with a quote": {"metadata": {'a"b': 1}},
    "too many fields": {"metadata": {str(i): i for i in range(100)}},
    "no date": {"timestamp": "yesterday"},
    "year 99999": {"timestamp": 10**13},
    "fraction of a second": {"timestamp": 1.5},
    "blank text": {"text": " \n"},
    "number as text": {"text": 5},
    "unknown field": {"colour": "red"},
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_a_bad_document_fails_alone(texts: httpx.Client, mine: str, change: dict[str, Any]) -> None:
    good, bad = document(mine), {**document(mine), **change}
    answer = post(texts, json.dumps([bad, good]), "application/json")
    assert answer.status_code == 207, answer.text
    assert statuses(answer) == ["failed", "created"]
    failed = answer.json()["documents"][0]
    assert failed["error"]["message"]
    assert len(failed["id"]) <= 512
    refused(post(texts, json.dumps(bad), "application/json"), 400)
    assert texts.get(PATH, params={"category": mine}).json()["total"] == 1


SURROGATE = json.dumps([{"id": "a", "text": "\ud800"}]).encode()


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b"[{]", b"null", b"3", b'"a"', b"\xff", b"[" * 9999, SURROGATE],
)
def test_what_is_no_list_of_documents_is_refused(texts: httpx.Client, body: bytes) -> None:
    refused(post(texts, body, "application/json"), 400)


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'[{"id":"a","text":"b","metadata":' + b'{"a":' * 100_000]
)
def test_deep_json_is_refused(texts: httpx.Client, body: bytes) -> None:
    refused(post(texts, body, "application/json"), 400)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_fails_its_document_alone(
    texts: httpx.Client, mine: str, number: str
) -> None:
    good = json.dumps(document(mine, text='Not "NaN" \\ but "Infinity".'))
    bad = f'{{"id": "a", "text": "NaN", "metadata": {{"x": {number}}}}}'
    answer = post(texts, f"[{bad}, {good}]", "application/json")
    assert (answer.status_code, statuses(answer)) == (207, ["failed", "created"])
    assert "finite" in answer.json()["documents"][0]["error"]["remedy"]
    (stored,) = texts.get(PATH, params={"category": mine}).json()["documents"]
    read = texts.get(f"{PATH}/{stored['id']}").json()
    assert read["text"] == json.loads(good)["text"]
    alone = refused(post(texts, bad, "application/json"), 400)
    assert number.strip("-") in alone["remedy"] or "finite" in alone["remedy"]


def test_a_form_nobody_reads_is_named(texts: httpx.Client) -> None:
    error = refused(post(texts, b"a=b", "application/x-www-form-urlencoded"), 415)
    assert "text/csv" in error["remedy"]
    body = json.dumps({"id": unique(), "text": "curl says it is a form"})
    answer = post(texts, body, "application/x-www-form-urlencoded")
    assert answer.status_code == 201
    texts.delete(f"{PATH}/{answer.json()['documents'][0]['id']}").raise_for_status()


def test_an_id_that_stands_twice_in_a_call_is_told(texts: httpx.Client, mine: str) -> None:
    sent = document(mine, text="first")
    answer = texts.post(PATH, json=[sent, {**sent, "text": "second"}])
    assert (answer.status_code, statuses(answer)) == (207, ["created", "failed"])
    assert texts.get(f"{PATH}/{sent['id']}").json()["text"] == "first"


def test_a_hundred_thousand_documents_in_a_call_are_refused_clearly(texts: httpx.Client) -> None:
    body = "\n".join(f'{{"id": "{i}", "text": "t"}}' for i in range(100_000))
    error = refused(post(texts, body, "application/x-ndjson"), 413)
    assert "10000" in error["message"]
    assert texts.get(f"{PATH}/99999").status_code == 404


# ---- listing and deleting


def test_lists_are_filtered_and_paged(texts: httpx.Client, mine: str) -> None:
    sent = [
        document(
            mine,
            f"{mine}/{i}",
            timestamp=1000 + i,
            metadata={"n": i, "odd": i % 2 == 1, "name": f"n{i}"},
        )
        for i in range(5)
    ]
    texts.post(PATH, json=sent).raise_for_status()

    def listed(**query: Any) -> list[str]:
        answer = texts.get(PATH, params={"category": mine, **query})
        assert answer.status_code == 200, answer.text
        return [one["id"].rpartition("/")[2] for one in answer.json()["documents"]]

    assert listed() == ["4", "3", "2", "1", "0"]
    assert listed(timestamp_after=1001, timestamp_before=1003) == ["2", "1"]
    assert listed(timestamp_before="1970-01-01T00:16:41Z") == ["0"]
    assert listed(**{"metadata.n": "3"}) == ["3"]
    assert listed(**{"metadata.odd": "true"}) == ["3", "1"]
    assert listed(**{"metadata.odd": "true", "metadata.name": "n1"}) == ["1"]
    first = texts.get(PATH, params={"category": mine, "limit": 2}).json()
    assert first["total"] == 5
    assert listed(limit=3, cursor=first["next"]) == ["2", "1", "0"]


@pytest.mark.parametrize("query", [
    "category=a&category=b", "limit=0", "limit=x", "cursor=none", "metadata=1", "colour=red",
    "timestamp_after=soon", "timestamp_after=3&timestamp_before=2", 'metadata.a"b=1', "metadata.=1",
])  # fmt: skip
def test_a_list_that_cannot_be_made_is_refused(texts: httpx.Client, query: str) -> None:
    refused(texts.get(f"{PATH}?{query}"), 400)


ODD_IDS = [
    "a/b/c.md",
    "/abs",
    "dir/",
    "a//b",
    "..",
    "../up",
    "a b",
    "100%",
    "a%2Fb",
    "é/ü",
    "?q#f",
    "delete",
    "a+b",
    ".",
]


@pytest.mark.parametrize("odd", ODD_IDS)
def test_any_id_can_be_read_and_deleted(texts: httpx.Client, mine: str, odd: str) -> None:
    assert statuses(texts.post(PATH, json=document(mine, odd))) == ["created"]
    path = f"{PATH}/{quote(odd, safe='').replace('.', '%2E')}"
    assert texts.get(path).json()["id"] == odd
    assert texts.delete(path).status_code == 204
    assert refused(texts.get(path), 404)["code"] == "document_not_found"
    assert refused(texts.delete(path), 404)["code"] == "document_not_found"


def test_curl_reads_an_id_with_slashes_as_it_is(
    text_node: RunningNode, texts: httpx.Client, mine: str
) -> None:
    texts.post(PATH, json=document(mine, f"{mine}/sub/../a.md")).raise_for_status()
    for told in (f"{mine}/sub/../a.md", quote(f"{mine}/sub/../a.md", safe="")):
        done = subprocess.run(
            ["curl", "-sS", "--path-as-is", f"{text_node.url}{PATH}/{told}"],
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert json.loads(done.stdout)["id"] == f"{mine}/sub/../a.md", done.stderr


def test_documents_are_deleted_by_id_and_by_filter(texts: httpx.Client, mine: str) -> None:
    sent = [document(mine, metadata={"n": i}) for i in range(5)]
    texts.post(PATH, json=sent).raise_for_status()
    ids = [sent[0]["id"], sent[1]["id"], "not there"]
    assert texts.post(f"{PATH}/delete", json={"ids": ids}).json() == {"deleted": 2}
    wanted = {"must": [{"key": "category", "match": {"value": mine}},
                       {"key": "metadata.n", "range": {"gte": 4}}]}  # fmt: skip
    assert texts.post(f"{PATH}/delete", json={"filter": wanted}).json() == {"deleted": 1}
    left = {one["id"] for one in search(texts, "A text.", category=mine)}
    assert left == {sent[2]["id"], sent[3]["id"]}


@pytest.mark.parametrize("body", [
    {}, {"filter": {}}, {"filter": {"must": []}}, {"ids": []},
    {"ids": ["a"], "filter": {"id": "a"}},
    {"filter": {"colour": "red"}}, {"ids": [1]}, {"all": True}, {"filter": {"must": [{}]}},
])  # fmt: skip
def test_a_deletion_without_a_clear_aim_is_refused(texts: httpx.Client, body: Any) -> None:
    before = texts.get("/api/status").json()["documents"]["count"]
    refused(texts.post(f"{PATH}/delete", json=body), 400)
    assert texts.get("/api/status").json()["documents"]["count"] == before


# ---- searching


@pytest.fixture
def shelf(texts: httpx.Client, mine: str) -> str:
    """Documents to search: the prefix of their ids is their category but for one."""
    texts.post(PATH, json=[
        document(mine, f"{mine}/rust", "Rust prevents data races at compile time.", timestamp=100,
                 metadata={"language": "rust", "year": 2015}),
        document(mine, f"{mine}/python", "Python is a language for scripts.", timestamp=200,
                 metadata={"language": "python", "year": 1991}),
        document(mine, f"{mine}/bread", "Knead the dough, then bake the bread.", timestamp=300,
                 metadata={"language": "none"}),
    ]).raise_for_status()  # fmt: skip
    return mine


def test_each_mode_finds_the_best_first(texts: httpx.Client, shelf: str) -> None:
    for mode in ("hybrid", "dense", "keyword"):
        found = search(texts, "baking bread", category=shelf, mode=mode)
        assert found[0]["id"] == f"{shelf}/bread", mode
        scores = [one["score"] for one in found]
        assert scores == sorted(scores, reverse=True)
    assert len(search(texts, "baking bread", category=shelf, mode="keyword")) == 1
    assert search(texts, "loaf", category=shelf, mode="dense")[0]["id"] == f"{shelf}/bread"


def test_filters_narrow_the_search(texts: httpx.Client, shelf: str) -> None:
    def ids(**more: Any) -> set[str]:
        found = search(texts, "language", **{"category": shelf, **more})
        return {one["id"].rpartition("/")[2] for one in found}

    assert ids(min_date=200) == {"python", "bread"}
    assert ids(min_date="1970-01-01T00:05:00Z") == {"bread"}
    assert ids(filter={"metadata": {"language": ["rust", "python"]}}) == {"rust", "python"}
    assert ids(filter={"metadata": {"year": {"gte": 2000}}}, min_date=0) == {"rust"}
    qdrant = {"must_not": [{"key": "metadata.language", "match": {"value": "rust"}}]}
    assert ids(filter=qdrant) == {"python", "bread"}
    assert ids(filter={"timestamp": {"gte": 100, "lt": 300}}) == {"rust", "python"}


def test_facets_paging_threshold_and_groups(texts: httpx.Client, mine: str) -> None:
    long = "\n\n".join(f"Paragraph {i}. " + "The tide rises and falls. " * 30 for i in range(4))
    texts.post(PATH, json=[
        document(mine, f"{mine}/long", long, metadata={"kind": "book", "year": 1999}),
        document(mine, f"{mine}/short", "The tide rises.", metadata={"kind": "note"}),
    ]).raise_for_status()  # fmt: skip
    body = {
        "query": "the tide rises",
        "category": mine,
        "facets": ["category", "metadata.kind", "metadata.year"],
    }
    answer = texts.post("/api/search", json=body).json()
    assert answer["facets"] == {
        "category": {mine: 2},
        "metadata.kind": {"book": 1, "note": 1},
        "metadata.year": {"1999": 1},
    }  # fmt: skip
    unnamed = texts.post("/api/search", json={**body, "facets": ["category", "metadata"]}).json()
    assert unnamed["facets"] == answer["facets"]
    assert answer["total_time_ms"] >= answer["embed_time_ms"] > 0
    assert answer["search_time_ms"] > 0
    whole = [one["chunk"] for one in answer["results"]]
    assert len(whole) > 2
    paged = [
        search(texts, "the tide rises", category=mine, limit=1, offset=at)[0]["chunk"]
        for at in range(len(whole))
    ]
    assert paged == whole
    grouped = search(texts, "the tide rises", category=mine, group=True)
    assert sorted(one["id"] for one in grouped) == [f"{mine}/long", f"{mine}/short"]
    least = answer["results"][1]["score"]
    kept = search(texts, "the tide rises", category=mine, threshold=least)
    assert kept and all(one["score"] >= least for one in kept)


@pytest.mark.parametrize("body", [
    {}, {"query": ""}, {"query": " "}, {"query": 5}, {"query": "a", "mode": "magic"},
    {"query": "a", "limit": 0}, {"query": "a", "limit": 101}, {"query": "a", "offset": -1},
    {"query": "a", "offset": 999, "limit": 2}, {"query": "a", "filter": {"colour": "red"}},
    {"query": "a", "filter": {"timestamp": {"gte": 5, "lt": 1}}},
    {"query": "a", "min_date": "soon"},
    {"query": "a", "filter": {"must": [{"nested": {}}]}}, {"query": "a", "facets": ["title"]},
    {"query": "a", "colour": 1}, {"query": "a" * 10_001}, {"query": "\ud800"},
    {"query": " ".join(map(str, range(2000)))}, {"query": "a", "filter": []},
])  # fmt: skip
def test_a_search_that_cannot_be_made_is_refused(texts: httpx.Client, body: Any) -> None:
    answer = texts.post(
        "/api/search", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    refused(answer, 400)


# ---- the node


def test_the_status_counts_documents(texts: httpx.Client, shelf: str) -> None:
    search(texts, "anything")  # what is searched has caught up
    told = texts.get("/api/status").json()["documents"]
    assert told["count"] >= 3
    assert told["chunks"] >= told["count"]
    assert (told["index"]["state"], told["index"]["lag"]) == ("ready", 0)
    assert told["index"]["points"] == told["chunks"]
    assert texts.get("/readyz").json()["parts"]["documents"]["state"] == "ready"


def test_metrics_count_documents_and_what_became_of_those_sent(
    texts: httpx.Client, mine: str
) -> None:
    def counted() -> dict[str, float]:
        changes = "skerry_document_changes_total"
        return {
            "documents": metric(texts, "skerry_documents"),
            "chunks": metric(texts, "skerry_chunks"),
            "created": metric(texts, changes, status="created", code=""),
            "unchanged": metric(texts, changes, status="unchanged", code=""),
            "unreadable": metric(texts, changes, status="failed", code="document_unreadable"),
            "refused": metric(texts, changes, status="failed", code="field_refused"),
        }

    before = counted()
    sent = [document(mine), document(mine), document(mine, text=" ")]
    assert statuses(texts.post(PATH, json=sent)) == ["created", "created", "failed"]
    assert statuses(texts.post(PATH, json=sent[0])) == ["unchanged"]
    refused(texts.post(PATH, files={"file": ("a.pdf", b"%PDF-1.7 nothing")}), 422)
    grown = {name: value - before[name] for name, value in counted().items()}
    assert grown == {
        "documents": 2, "chunks": 2, "created": 2, "unchanged": 1, "unreadable": 1, "refused": 1,
    }  # fmt: skip
    texts.delete(f"{PATH}/{sent[0]['id']}").raise_for_status()
    assert metric(texts, "skerry_documents") == before["documents"] + 1


def test_without_an_embedding_model_the_node_is_ready_and_says_what_is_missing(
    client: httpx.Client,
) -> None:
    assert client.get("/readyz").status_code == 200
    assert client.get(PATH).json() == {"documents": [], "next": None, "total": 0}
    assert client.post("/api/search", json={"query": "a"}).json()["results"] == []
    answer = client.post(PATH, json=[{"id": "a", "text": "b"}, {"id": "c", "text": "d"}])
    assert refused(answer, 422)["code"] == "task_off"


def test_a_client_that_leaves_ends_its_work(texts: httpx.Client, mine: str) -> None:
    search(texts, "the model is loaded")
    gone = {"route": PATH, "method": "POST", "status": "499"}
    before = metric(texts, "requests_total", **gone)
    sent = [document(mine, text=f"{i}. " + "The tide rises and falls. " * 20) for i in range(3000)]
    with pytest.raises(httpx.ReadTimeout):
        texts.post(PATH, json=sent, timeout=httpx.Timeout(30, read=1.0))
    end = time.monotonic() + 30
    while metric(texts, "requests_total", **gone) == before:
        assert time.monotonic() < end, "the work goes on although nobody waits for it"
        time.sleep(0.05)
    assert texts.get(PATH, params={"category": mine}).json()["total"] < len(sent)


async def test_a_long_text_is_stored_while_others_keep_their_latency(
    text_node: RunningNode, mine: str
) -> None:
    # More than a slice's work, in one text; 10 MB takes the same way, for some minutes.
    text = "The tide rises and falls, and the harbour sleeps.\n" * 6_000
    async with httpx.AsyncClient(base_url=text_node.url, timeout=LONG, trust_env=False) as http:
        adding = asyncio.create_task(http.post(PATH, json=document(mine, f"{mine}/long", text)))
        slowest = 0.0
        while not adding.done():
            began = time.monotonic()
            (await http.post("/api/search", json={"query": "tide"})).raise_for_status()
            (await http.get("/api/status")).raise_for_status()
            slowest = max(slowest, time.monotonic() - began)
        assert (await adding).status_code == 201, (await adding).text
        answer = await http.get(f"{PATH}/{mine}/long")
        assert answer.json()["text"] == text
        assert answer.json()["chunks"] > 100
    assert slowest < 5.0


def test_the_client_library_adds_finds_and_removes(text_node: RunningNode, mine: str) -> None:
    with skerry.connect(text_node.url) as client:
        added = client.documents.add(
            [
                document(mine, f"{mine}/a", "Gulls nest on the cliff."),
                {"id": f"{mine}/b", "text": ""},
            ]
        )
        assert [one.status for one in added] == ["created", "failed"]
        file = client.documents.add_file(
            b"# Ferries\n\nThe ferry leaves at nine.", "ferry.md", id=f"{mine}/ferry.md",
            category=mine, timestamp="2026-01-31", metadata={"line": 3},
        )  # fmt: skip
        assert (file.status, file.chunks) == ("created", 1)
        found = client.search("When does the boat depart?", filter={"category": mine}, limit=1)
        assert found.results[0].id == file.id
        assert found.facets == {"category": {mine: 2}}
        read = client.documents.get(file.id, chunks=True)
        assert read.parts[0].text == read.text
        assert [one.id for one in client.documents.all(category=mine)] == [file.id, f"{mine}/a"]
        assert client.documents.list(metadata={"line": 3}, category=mine).total == 1
        client.documents.remove(f"{mine}/a")
        with pytest.raises(DocumentNotFound):
            client.documents.get(f"{mine}/a")
        assert client.documents.remove_many([file.id, "absent"]) == 1
        assert client.documents.remove_matching({"category": mine}) == 0
        assert client.status().documents.index.state == "ready"
