from __future__ import annotations

import json
from urllib.parse import unquote

import pytest

import skerry
from client.scripted import Reply, Request, refusal, serving
from skerry.client.documents import BATCH, BATCH_CHARACTERS
from skerry.errors import DocumentNotFound, DocumentUnreadable, Overloaded

FAILED = {"code": "field_refused", "message": "no text", "remedy": "", "request_id": "r"}


def created(request: Request) -> Reply:
    """Each document of the request is stored, but for those without a text."""
    results = [
        {"id": one["id"], "status": "created", "chunks": 1}
        if one["text"]
        else {"id": one["id"], "status": "failed", "error": FAILED}
        for one in json.loads(request.body)
    ]
    failed = [one for one in results if one["status"] == "failed"]
    status = 201 if not failed else 400 if len(failed) == len(results) else 207
    return Reply(status, {"documents": results})


def test_many_documents_go_in_batches_and_each_has_a_result() -> None:
    documents = [{"id": str(i), "text": "t" if i % 2 else ""} for i in range(2 * BATCH + 1)]
    with serving(created) as node, skerry.connect(node.url) as client:
        added = client.documents.add(iter(documents))
        assert [one.id for one in added] == [one["id"] for one in documents]
        assert [one.status for one in added[:2]] == ["failed", "created"]
        assert [len(json.loads(r.body)) for r in node.requests] == [BATCH, BATCH, 1]


def test_a_long_text_goes_alone() -> None:
    texts = ["short", "x" * BATCH_CHARACTERS, "short"]
    documents = [{"id": str(i), "text": text} for i, text in enumerate(texts)]
    with serving(created) as node, skerry.connect(node.url) as client:
        assert len(client.documents.add(documents)) == 3
        assert len(node.requests) == 3


def test_a_batch_of_which_all_failed_is_told_not_raised() -> None:
    with serving(created) as node, skerry.connect(node.url) as client:
        (added,) = client.documents.add([{"id": "a", "text": ""}])
        assert added.error is not None
        assert (added.status, added.error.message) == ("failed", "no text")


def test_a_refused_call_is_raised() -> None:
    busy = refusal(503, "overloaded", "full", retry_after="60")
    with (
        serving(lambda _: busy) as node,
        skerry.connect(node.url, patience_s=0) as client,
        pytest.raises(Overloaded),
    ):
        client.documents.add([{"id": "a", "text": "b"}])


def test_a_file_that_is_refused_is_raised() -> None:
    reply = refusal(422, "document_unreadable", "damaged")
    with serving(lambda _: reply) as node, skerry.connect(node.url) as client:
        with pytest.raises(DocumentUnreadable, match="damaged"):
            client.documents.add_file(b"%PDF", "a.pdf", category="c", metadata={"n": 1})
        body = node.requests[0].body
        assert b'filename="a.pdf"' in body
        assert b'{"n":1}' in body


@pytest.mark.parametrize("name", ["a/b.md", "..", ".", "a b?#%", "é"])
def test_any_id_reaches_the_node_as_it_is(name: str) -> None:
    reply = refusal(404, "document_not_found", "absent")
    with serving(lambda _: reply) as node, skerry.connect(node.url) as client:
        with pytest.raises(DocumentNotFound):
            client.documents.get(name)
        path = node.requests[0].path.removeprefix("/api/documents/")
        assert "/" not in path
        assert path not in (".", "..")
        assert unquote(path) == name


def test_lists_go_on_to_the_last_page() -> None:
    row = {"id": "a", "created_at": 1, "updated_at": 1, "chunks": 1, "characters": 2}

    def page(request: Request) -> Reply:
        following = None if "cursor" in request.path else "more"
        return Reply(200, {"documents": [row, row], "next": following, "total": 4})

    with serving(page) as node, skerry.connect(node.url) as client:
        found = list(client.documents.all(category="c", metadata={"n": 3}))
        assert len(found) == 4
        assert "metadata.n=3" in node.requests[0].path
        assert "category=c" in node.requests[1].path
        assert len(list(client.documents.all(limit=2))) == 2


def test_many_ids_are_deleted_in_parts() -> None:
    def deleted(request: Request) -> Reply:
        return Reply(200, {"deleted": len(json.loads(request.body)["ids"])})

    with serving(deleted) as node, skerry.connect(node.url) as client:
        assert client.documents.remove_many([str(i) for i in range(2500)]) == 2500
        assert len(node.requests) == 3


def test_a_search_sends_what_was_given_and_reads_results() -> None:
    result = {"id": "a", "chunk": 3, "score": 0.5, "text": "t", "start": 0, "end": 1,
              "highlights": [[0, 1]], "title": None, "metadata": {"n": [1, "x"]}}  # fmt: skip
    reply = Reply(200, {"results": [result], "facets": {"category": {"c": 2}}})
    with serving(lambda _: reply) as node, skerry.connect(node.url) as client:
        found = client.search("q", filter={"category": "c"}, group=True)
        assert found.results[0].highlights == [(0, 1)]
        assert found.facets == {"category": {"c": 2}}
        sent = json.loads(node.requests[0].body)
        assert sent["filter"] == {"category": "c"}
        assert "threshold" not in sent
