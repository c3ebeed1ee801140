"""text-embeddings-inference's paths: its shapes, its statuses, its reading of a list."""

from __future__ import annotations

from typing import Any

import pytest
from played_node import SIZE, WINDOW, Served

from skerry import __version__
from skerry.api.text_bodies import MAX_TEXTS
from skerry.errors import DeadlineExceeded, ModelUnavailable, Overloaded

LONG = " ".join(["word"] * (WINDOW + 1))
RANKED = [
    {"score": 0.7, "label": "positive"},
    {"score": 0.2, "label": "neutral"},
    {"score": 0.1, "label": "negative"},
]

RAW = [
    {"score": 4.0, "label": "positive"},
    {"score": 1.5, "label": "neutral"},
    {"score": -2.0, "label": "negative"},
]


def ask(served: Served, path: str, **fields: Any) -> Any:
    answer = served.http.post(path, json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(served: Served, path: str, status: int, **fields: Any) -> str:
    answer = served.http.post(path, json=fields)
    assert answer.status_code == status, answer.text
    error = answer.json()
    assert {"error", "error_type"} <= set(error)
    assert isinstance(error["error"], str)
    return error["error_type"]


@pytest.mark.parametrize(
    ("inputs", "lengths"),
    [("abc", [3]), (["a", "bc"], [1, 2]), ([5, 6], [2]), ([[5, 6], [7]], [2, 1])],
)  # fmt: skip
def test_embed_gives_a_bare_list_of_vectors(
    served: Served, inputs: Any, lengths: list[int]
) -> None:
    vectors = ask(served, "/embed", inputs=inputs)
    assert [vector[0] for vector in vectors] == lengths
    assert all(len(vector) == SIZE for vector in vectors)


def test_embed_cuts_a_long_text_only_where_asked(served: Served) -> None:
    assert refused(served, "/embed", 413, inputs=LONG) == "Validation"
    ask(served, "/embed", inputs=LONG, truncate=True, normalize=True)
    assert served.node.texts.embedding.calls[-1] == (1, "cut", "")


def test_a_prompt_name_is_one_of_the_models(served: Served) -> None:
    ask(served, "/embed", inputs="a", prompt_name="query")
    assert served.node.texts.embedding.calls[-1] == (1, "refuse", "query")
    assert refused(served, "/embed", 422, inputs="a", prompt_name="poem") == "Validation"


@pytest.mark.parametrize(
    ("inputs", "answer"),
    [("a", RANKED), (["a"], RANKED), ([["a"]], [RANKED]), ([["a"], ["b"]], [RANKED, RANKED])],
)
def test_predict_ranks_the_classes_of_one_text_or_a_batch(
    served: Served, inputs: Any, answer: Any
) -> None:
    assert ask(served, "/predict", inputs=inputs) == answer


@pytest.mark.parametrize(
    ("fields", "batch"),
    [({"raw_scores": True}, False), ({"parameters": {"function_to_apply": "none"}}, True)],
)
def test_predict_gives_raw_scores_where_asked(
    served: Served, fields: dict[str, Any], batch: bool
) -> None:
    answer = ask(served, "/predict", inputs="a", **fields)
    assert answer == ([RAW] if batch else RAW)


def test_predict_with_parameters_answers_as_the_pipeline_does(served: Served) -> None:
    assert ask(served, "/predict", inputs="a", parameters={}) == [RANKED]
    assert ask(served, "/predict", inputs="a", parameters={"top_k": 1}) == [RANKED[:1]]


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("/embed", {"inputs": "a", "normalize": False}, 422),
        ("/embed", {"inputs": "a", "dimensions": 2}, 422),
        ("/embed", {"inputs": "a", "truncation_direction": "Left"}, 422),
        ("/embed", {"inputs": ""}, 422),
        ("/embed", {"inputs": []}, 422),
        ("/embed", {"inputs": [1, "a"]}, 422),
        ("/embed", {"inputs": ["a", [1]]}, 422),
        ("/embed", {}, 422),
        ("/embed", {"inputs": ["a"] * (MAX_TEXTS + 1)}, 413),
        ("/embed", {"inputs": "x" * (10 << 20)}, 413),
        ("/predict", {"inputs": ["a", "b"]}, 422),
        ("/predict", {"inputs": [["a", "b"]]}, 422),
        ("/predict", {"inputs": ["a", ["b"]]}, 422),
        ("/predict", {"inputs": [[]]}, 422),
        ("/predict", {"inputs": "a", "parameters": {"function_to_apply": "sigmoid"}}, 422),
        ("/predict", {"inputs": [["a"]] * (MAX_TEXTS + 1)}, 413),
        ("/predict", {"inputs": LONG}, 413),
    ],
)
def test_what_cannot_be_served_is_a_validation_error(
    served: Served, path: str, fields: dict[str, Any], status: int
) -> None:
    assert refused(served, path, status, **fields) == "Validation"


def test_too_many_inputs_are_refused_in_that_servers_words(served: Served) -> None:
    answer = served.http.post("/embed", json={"inputs": ["a"] * 100_000})
    assert answer.status_code == 413
    limit = f"batch size 100000 > maximum allowed batch size {MAX_TEXTS}"
    assert answer.json()["error"] == limit


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (Overloaded("full", retry_after_s=2), 429, "Overloaded"),
        (DeadlineExceeded("late"), 429, "Overloaded"),
        (ModelUnavailable("gone"), 503, "Unhealthy"),
        (RuntimeError("secret"), 500, "Backend"),
    ],
)
def test_failures_have_that_servers_statuses(
    served: Served, error: Exception, status: int, kind: str
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise error

    served.node.texts.embedding.embed = fail  # type: ignore[method-assign, assignment]
    answer = served.http.post("/embed", json={"inputs": "a"})
    assert (answer.status_code, answer.json()["error_type"]) == (status, kind)
    assert ("retry-after" in answer.headers) == (status in (429, 503))
    assert "secret" not in answer.text


def test_a_model_may_be_named_in_the_query(served: Served) -> None:
    assert len(ask(served, "/embed?model=played-embedder", inputs="a")) == 1
    assert refused(served, "/embed?model=nobody", 404, inputs="a") == "Validation"
    assert refused(served, "/embed?model=played-chat", 424, inputs="a") == "Backend"


def test_unknown_fields_are_let_pass_as_that_server_does(served: Served) -> None:
    ask(served, "/embed", inputs="a", nonsense=1)


def test_info_tells_the_model_and_its_bounds(served: Served) -> None:
    found = served.http.get("/info").json()
    assert found["model_id"] == "played-embedder"
    assert found["model_type"] == {"embedding": {"pooling": "mean"}}
    assert (found["model_dtype"], found["max_input_length"]) == ("fp32", WINDOW)
    assert (found["max_client_batch_size"], found["version"]) == (MAX_TEXTS, __version__)
    found = served.http.get("/info?model=played-classifier").json()
    assert found["model_type"]["classifier"]["id2label"]["0"] == "positive"
    assert found["model_type"]["classifier"]["label2id"]["neutral"] == 2
