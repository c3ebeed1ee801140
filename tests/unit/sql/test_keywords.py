import math

import pytest

from skerry.errors import BadRequest
from skerry.filters import Condition, Filter
from skerry.media.words import index_terms, query_terms
from skerry.sql.document_rows import NewDocument
from skerry.sql.documents import DocumentTable
from skerry.sql.keywords import MAX_TERMS, KeywordIndex
from skerry.sql.sqlite import SqliteDatabase

from .library import store


@pytest.fixture
def keywords(db):
    return KeywordIndex(db)


TEXTS = ["red fox", "red red wine", "old fox hunts old dog", "dog", "cat", "bird", "tree"]


async def fill(db, texts=TEXTS):
    await store(db, *(NewDocument(str(n), text) for n, text in enumerate(texts, start=1)))


def bm25(terms: list[str], texts: list[str], *, k1: float = 1.2, b: float = 0.75):
    """Robertson's formula as FTS5 has it."""
    split = [text.split() for text in texts]
    average = sum(map(len, split)) / len(split)
    scores = {}
    for number, words in enumerate(split, start=1):
        score = 0.0
        for term in terms:
            having = sum(term in other for other in split)
            idf = max(math.log((len(split) - having + 0.5) / (having + 0.5)), 1e-6)
            count = words.count(term)
            length = k1 * (1 - b + b * len(words) / average)
            score += idf * count * (k1 + 1) / (count + length)
        if score:
            scores[number] = score
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


@pytest.mark.parametrize("terms", [["red"], ["fox", "dog"], ["old", "old", "red"], ["none"]])
async def test_chunks_are_ranked_by_bm25(db, keywords, terms):
    await fill(db)
    found = await keywords.search(terms, limit=10)
    expected = bm25(terms, TEXTS)
    assert [chunk for chunk, _ in found] == [chunk for chunk, _ in expected]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected])


async def test_what_was_deleted_or_replaced_counts_no_more(db, keywords):
    await fill(db, [*TEXTS, "fox fox", "fox dog red"])
    table = DocumentTable(db)
    await db.write(lambda tx: table.delete(tx, ["8", "9"]))
    await store(db, NewDocument("8", "stone"))
    found = await keywords.search(["fox", "stone"], limit=10)
    expected = bm25(["fox", "stone"], [*TEXTS, "stone"])
    # The new chunk has a new id.
    renamed = [(chunk if chunk < 8 else 10, score) for chunk, score in expected]
    assert [chunk for chunk, _ in found] == [chunk for chunk, _ in renamed]
    assert [score for _, score in found] == pytest.approx([score for _, score in renamed])


@pytest.mark.parametrize(
    "term",
    [
        "c++", "c#", "foo_bar", "foo-bar", "3.14", '"quoted"', "a*", "near(", "and", "OR", "not",
        "日本", "本語", "naïve", "naive", "😀", "§42", "title:x", "^x", "e\u0301", "\U0001fae8",
    ],
)  # fmt: skip
async def test_term_is_found_as_it_is_and_nothing_like_it(db, keywords, term):
    lookalikes = ["c", "foo", "bar", "3", "14", "quoted", "a", "near", "日", "本", "x", "e", "42"]
    await store(db, NewDocument("a", f"some {term} here"), NewDocument("b", " ".join(lookalikes)))
    assert [chunk for chunk, _ in await keywords.search([term], limit=9)] == [1]


@pytest.mark.parametrize("lone", ["黒", "猫", "が", "き"])
async def test_one_character_of_a_script_without_spaces_is_found_wherever_it_stands(
    db, keywords, lone
):
    text = "黒猫が好き"
    await store(db, NewDocument("a", " ".join(index_terms(text))), NewDocument("b", "白犬 犬"))
    assert [chunk for chunk, _ in await keywords.search(query_terms(lone), limit=9)] == [1]
    assert (await keywords.counts([lone])).having == {lone: 1}


async def test_filter_holds_before_the_limit(db, keywords):
    await store(
        db, *(NewDocument(str(n), "fox " * (9 - n), category="ab"[n == 5]) for n in range(6))
    )
    only = Filter(must=(Condition("category", value="b"),))
    assert [chunk for chunk, _ in await keywords.search(["fox"], limit=1, filter=only)] == [6]
    assert [chunk for chunk, _ in await keywords.search(["fox"], limit=1)] == [1]
    none = Filter(must=(Condition("id", value="nobody"),))
    assert await keywords.search(["fox"], limit=1, filter=none) == []


async def test_nothing_asked_finds_nothing_and_too_much_is_refused(db, keywords):
    await fill(db)
    assert await keywords.search([], limit=3) == []
    assert await keywords.search(["\0"], limit=3) == []
    assert len(await keywords.search(["fox"] * MAX_TERMS, limit=3)) == 2
    with pytest.raises(BadRequest, match="words"):
        await keywords.search(["fox"] * (MAX_TERMS + 1), limit=3)


async def test_terms_survive_a_restart(db, keywords):
    await fill(db)
    before = await keywords.search(["fox"], limit=3)
    again = SqliteDatabase(db.path)
    assert await KeywordIndex(again).search(["fox"], limit=3) == before
    await again.close()


async def test_a_term_weighs_more_the_fewer_chunks_have_it(db, keywords):
    await fill(db)
    counts = await keywords.counts(["red", "dog", "cat", "none", 'quo"ted'])
    assert counts.having == {"red": 2, "dog": 2, "cat": 1, "none": 0, 'quo"ted': 0}
    weights = counts.weights()
    assert weights["red"] == pytest.approx(math.log(1 + 5.5 / 2.5))
    assert weights["none"] == weights['quo"ted'] > weights["cat"] > weights["dog"]
    assert (await keywords.counts([])).having == {}
    with pytest.raises(BadRequest, match="1000"):
        await keywords.counts([str(n) for n in range(MAX_TERMS + 1)])
