import pytest

from skerry.errors import FieldRefused
from skerry.sql import document_rows as rows
from skerry.sql.document_rows import NewDocument, check_document, content_hash, encode_metadata


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"id": ""}, "id", "empty"),
        ({"id": "x" * 10_000}, "id", "512 characters"),
        ({"id": "a\0b"}, "id", "NUL"),
        ({"id": "\ud800"}, "id", "surrogate"),
        ({"text": ""}, "text", "no text"),
        ({"text": " \n\t"}, "text", "no text"),
        ({"text": "a\ud800"}, "text", "surrogate"),
        ({"title": "x" * 2_001}, "title", "2000"),
        ({"category": ""}, "category", "empty"),
        ({"category": "x" * 257}, "category", "256"),
        ({"timestamp": 1 << 63}, "timestamp", "whole number"),
        ({"timestamp": 1.5}, "timestamp", "whole number"),
        ({"timestamp": True}, "timestamp", "whole number"),
        ({"metadata": {"n": float("nan")}}, "metadata.n", "finite"),
        ({"metadata": {"n": [1, float("inf")]}}, "metadata.n", "finite"),
        ({"metadata": {"n": 1 << 63}}, "metadata.n", "64 bits"),
        ({"metadata": {"n": None}}, "metadata.n", "must be"),
        ({"metadata": {"n": {"deep": 1}}}, "metadata.n", "must be"),
        ({"metadata": {"n": [[1]]}}, "metadata.n", "must be"),
        ({"metadata": {"n": "a\0"}}, "metadata.n", "NUL"),
        ({"metadata": {"n": "x" * 4_097}}, "metadata.n", "4096"),
        ({"metadata": {"": 1}}, "metadata", "cannot name"),
        ({"metadata": {'a"b': 1}}, "metadata", "cannot name"),
        ({"metadata": {"x" * 129: 1}}, "metadata", "cannot name"),
        ({"metadata": {str(n): 1 for n in range(65)}}, "metadata", "64 fields"),
        ({"metadata": {"n": [1] * 1_025}}, "metadata", "1024 values"),
    ],
)
def test_what_cannot_be_stored_is_refused_naming_the_field(fields, field, says):
    with pytest.raises(FieldRefused, match=says) as caught:
        check_document(NewDocument(**({"id": "a", "text": "x"} | fields)))
    assert caught.value.field == field


def test_the_largest_of_everything_is_allowed():
    check_document(
        NewDocument(
            "é" * rows.MAX_ID_CHARS,
            "x\0y",
            "t" * rows.MAX_TITLE_CHARS,
            "c" * rows.MAX_CATEGORY_CHARS,
            -(1 << 63),
            {"作者 a.b": [True, 0, 1.5, "", "x" * rows.MAX_VALUE_CHARS], "empty": []},
        )
    )


def test_hash_tells_title_from_text_and_no_title_from_an_empty_one():
    hashes = {
        content_hash(NewDocument("a", text, title))
        for text, title in [("ab", None), ("ab", ""), ("b", "a"), ("", "ab"), ("a", "b")]
    }
    assert len(hashes) == 5
    assert content_hash(NewDocument("a", "x", category="c")) == content_hash(NewDocument("b", "x"))


def test_equal_metadata_is_equal_json_and_true_is_not_one():
    assert encode_metadata({"b": 1, "a": [2]}) == encode_metadata({"a": [2], "b": 1})
    assert len({encode_metadata({"a": value}) for value in (1, 1.0, True, "1")}) == 4
