"""A filter as SQL over the table of documents, with the meaning it has in the vector index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from skerry.errors import UnknownField
from skerry.filters import INT64, METADATA, Condition, Filter, Range, measure
from skerry.sql.base import Value

# One of these for every test that nothing passes.
NEVER = "false"


@dataclass(frozen=True, slots=True)
class Clause:
    """An expression over `documents`, with its arguments; NULL means that a row does not pass."""

    sql: str
    arguments: tuple[Value, ...] = ()


def document_clause(filter: Filter | None) -> Clause:
    """What a row of `documents` has to fulfil.

    Raises BadRequest for a filter that is malformed or too large, UnknownField for a key other
    than id, category, timestamp and metadata.NAME.
    """
    if filter is None:
        return Clause("true")
    measure(filter)
    compiler = _Compiler()
    sql = compiler.filter(filter)
    return Clause(sql, tuple(compiler.arguments))


@dataclass(slots=True)
class _Compiler:
    """Writes SQL from left to right and keeps the arguments in step."""

    arguments: list[Value] = field(default_factory=list)

    def filter(self, filter: Filter) -> str:
        terms = [self.item(item) for item in filter.must]
        if filter.should:
            terms.append(f"({' OR '.join(self.item(item) for item in filter.should)})")
        # NOT of NULL would be NULL: a field that is absent is not the value.
        terms += [f"{self.item(item)} IS NOT TRUE" for item in filter.must_not]
        return f"({' AND '.join(terms)})" if terms else "true"

    def item(self, item: Filter | Condition) -> str:
        if isinstance(item, Filter):
            return self.filter(item)
        if item.key in ("id", "category"):
            tests = self.text(f"documents.{item.key}", item)
        elif item.key == "timestamp":
            tests = self.number("documents.timestamp", item)
        elif item.key.startswith(METADATA):
            tests = self.metadata(item.key.removeprefix(METADATA), item)
        else:
            raise UnknownField(
                f"Documents have no field '{item.key}'.",
                remedy="They are filtered by id, category, timestamp and metadata.NAME.",
            )
        return f"({' AND '.join(tests)})"

    def text(self, column: str, condition: Condition) -> Iterator[str]:
        if condition.value is not None:
            found = _texts([condition.value])
            yield f"{column} = {self.bound(found[0])}" if found else NEVER
        if condition.any is not None:
            yield f"{column} IN {self.listed(_texts(condition.any))}"
        if condition.except_ is not None:
            # NULL is not outside of a list that holds something; of an empty one it would be.
            outside = self.listed(_texts(condition.except_))
            yield f"({column} IS NOT NULL AND {column} NOT IN {outside})"
        if condition.range is not None:
            yield NEVER

    def number(self, column: str, condition: Condition) -> Iterator[str]:
        if condition.value is not None:
            found = _integers([condition.value])
            yield f"{column} = {self.bound(found[0])}" if found else NEVER
        if condition.any is not None:
            yield f"{column} IN {self.listed(_integers(condition.any))}"
        if condition.except_ is not None:
            outside = self.listed(_integers(condition.except_))
            yield f"({column} IS NOT NULL AND {column} NOT IN {outside})"
        if condition.range is not None:
            yield self.range(column, condition.range)

    def metadata(self, name: str, condition: Condition) -> Iterator[str]:
        # A subquery for each test: different elements of a list may pass them.
        if condition.value is not None:
            yield f"{self.having(name)} AND {self.equal(condition.value)})"
        if condition.any is not None:
            yield f"{self.having(name)} AND {self.one_of(condition.any)})"
        if condition.except_ is not None:
            yield f"{self.having(name)} AND NOT {self.one_of(condition.except_)})"
        if condition.range is not None:
            yield (
                f"{self.having(name)} AND type IN ('integer', 'real') "
                f"AND {self.range('value', condition.range)})"
            )

    def having(self, name: str) -> str:
        return (
            "documents.key IN (SELECT document FROM document_values "
            f"WHERE name = {self.bound(name)}"
        )

    def equal(self, value: str | int | bool) -> str:
        if isinstance(value, bool):
            return f"type = 'bool' AND value = {self.bound(int(value))}"
        return self.one_of((value,))

    def one_of(self, values: tuple[str | int, ...]) -> str:
        # The columns of document_values are never NULL. `measure` has refused a mixture.
        texts, integers = _texts(values), _integers(values)
        if not texts and not integers:
            return NEVER
        kind: Literal["text", "integer"] = "text" if texts else "integer"
        return f"(type = '{kind}' AND value IN {self.listed(texts or integers)})"

    def range(self, column: str, range: Range) -> str:
        bounds = {">": range.gt, ">=": range.gte, "<": range.lt, "<=": range.lte}
        tests = [
            f"{column} {sign} {self.bound(_number(bound))}"
            for sign, bound in bounds.items()
            if bound is not None
        ]
        return " AND ".join(tests) or f"{column} IS NOT NULL"

    def listed(self, values: list[str] | list[int]) -> str:
        # As one argument, so that the statement's text is the same for any number of values.
        return f"(SELECT value FROM json_each({self.bound(msgspec.json.encode(values).decode())}))"

    def bound(self, value: Value) -> str:
        self.arguments.append(value)
        return "?"


def _texts(values: Iterable[str | int | bool]) -> list[str]:
    """Those that a stored text can be equal to: none has a NUL or half of a surrogate pair."""
    return [value for value in values if isinstance(value, str) and _is_storable(value)]


def _integers(values: Iterable[str | int | bool]) -> list[int]:
    return [value for value in values if type(value) is int]


def _number(bound: float) -> int | float:
    return bound if isinstance(bound, float) or bound in INT64 else float(bound)


def _is_storable(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False
