"""`POST /v1/embeddings`: every form of input, both encodings, and what is refused by name."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from played_node import SIZE, WINDOW, Served

from skerry.api.text_bodies import MAX_TEXTS
from skerry.api.text_slices import SLICE_CHARACTERS, SLICE_TEXTS, slices

PATH = "/v1/embeddings"


def ask(served: Served, **fields: Any) -> Any:
    answer = served.http.post(PATH, json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("given", "lengths", "tokens"),
    [
        ("two words", [9], 2),
        (["a", "two words"], [1, 9], 3),
        ([7, 8, 9], [3], 3),
        ([[7, 8], [9]], [2, 1], 3),
    ],
)
def test_every_form_of_input_is_embedded(
    served: Served, given: Any, lengths: list[int], tokens: int
) -> None:
    answer = ask(served, input=given)
    assert answer["object"] == "list"
    assert answer["model"] == "played-embedder"
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert [one["index"] for one in answer["data"]] == list(range(len(lengths)))
    assert [one["embedding"][0] for one in answer["data"]] == lengths
    assert all(one["object"] == "embedding" for one in answer["data"])


def test_base64_is_the_same_vector_in_little_endian_float32(served: Served) -> None:
    floats = ask(served, input="abc", encoding_format="float")["data"][0]["embedding"]
    coded = ask(served, input="abc", encoding_format="base64")["data"][0]["embedding"]
    raw = base64.b64decode(coded)
    assert len(raw) == 4 * SIZE
    assert np.frombuffer(raw, "<f4").tolist() == np.array(floats, np.float32).tolist()


def test_many_texts_are_embedded_slice_by_slice_in_their_order(served: Served) -> None:
    count = SLICE_TEXTS + 3
    answer = ask(served, input=["x" * (i % 100 + 1) for i in range(count)])
    lengths = [one["embedding"][0] for one in answer["data"]]
    assert lengths == [i % 100 + 1 for i in range(count)]
    assert [n for n, _, _ in served.node.texts.embedding.calls] == [SLICE_TEXTS, 3]
    assert answer["usage"]["prompt_tokens"] == count


@pytest.mark.parametrize(
    ("texts", "sizes"),
    [
        (["a"], [1]),
        (["x" * SLICE_CHARACTERS, "a", "b"], [1, 2]),
        (["a", "x" * (2 * SLICE_CHARACTERS), "b"], [1, 1, 1]),
        ([[1] * (SLICE_CHARACTERS // 4), [1]], [1, 1]),
        (["a"] * (2 * SLICE_TEXTS), [SLICE_TEXTS, SLICE_TEXTS]),
    ],
)
def test_slices_hold_about_the_same_work(texts: list[Any], sizes: list[int]) -> None:
    found = slices(texts)
    assert [len(part) for part in found] == sizes
    assert [text for part in found for text in part] == texts


def test_a_text_beyond_the_window_is_refused_or_split_as_asked(served: Served) -> None:
    long = " ".join(["word"] * (WINDOW + 1))
    answer = served.http.post(PATH, json={"input": long})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    ask(served, input=long, long="split")
    assert served.node.texts.embedding.calls[-1] == (1, "split", "")


def test_a_text_refused_in_a_later_slice_is_counted_from_where_that_begins(
    served: Served,
) -> None:
    texts = ["a"] * SLICE_TEXTS + [" ".join(["word"] * (WINDOW + 1))]
    answer = served.http.post(PATH, json={"input": texts})
    assert answer.status_code == 400
    assert f"from number {SLICE_TEXTS} on" in answer.json()["error"]["message"]


def test_the_use_of_the_texts_reaches_the_model(served: Served) -> None:
    ask(served, input="a", input_type="query")
    assert served.node.texts.embedding.calls[-1] == (1, "refuse", "query")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": "a", "dimensions": SIZE - 1}, "dimensions"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "input_type": "poem"}, "input_type"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "nonsense": 1}, "nonsense"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": [[1], []]}, "input[1]"),
        ({"input": ["a", 1]}, "input"),
        ({"input": [-1]}, "input[0]"),
        ({"input": ["a", None]}, "input[1]"),
        ({"input": {"a": 1}}, "input"),
        ({}, "input"),
        ({"input": ["a"] * (MAX_TEXTS + 1)}, "input"),
        ({"input": ["a"] * 100_000}, "input"),
    ],
)
def test_what_cannot_be_embedded_is_refused_by_name(
    served: Served, fields: dict[str, Any], param: str
) -> None:
    answer = served.http.post(PATH, json=fields)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert not served.node.texts.embedding.calls


def test_the_size_the_model_has_may_be_asked_for(served: Served) -> None:
    assert len(ask(served, input="a", dimensions=SIZE)["data"][0]["embedding"]) == SIZE
    ask(served, input=["a"] * MAX_TEXTS, user="somebody")


def test_ten_megabytes_of_text_are_refused_by_their_size(served: Served) -> None:
    answer = served.http.post(PATH, json={"input": "x" * (10 << 20)})
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "payload_too_large"


def test_a_chat_model_asked_to_embed_is_the_wrong_one(served: Served) -> None:
    answer = served.http.post(PATH, json={"input": "a", "model": "played-chat"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "wrong_task")
