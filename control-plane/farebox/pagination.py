"""Pages by cursor: stable while rows come and go, and as cheap on the thousandth page as on the first.

A cursor is the place of the last row shown (its sort value and id) with the sorting it belongs to. It is
opaque to callers but no secret: row security decides what it can reach.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, TypeVar
from uuid import UUID

from pydantic import Field
from sqlalchemy import ColumnElement, Integer, Select, bindparam, tuple_

from farebox.fields import QueryInput, View
from farebox.problems import CURSOR_INVALID, Refusal

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100
T = TypeVar("T")
Item = TypeVar("Item", bound=View)


class PageQuery(QueryInput):
    """The parameters of every list."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT, description="Entries on a page.")] = DEFAULT_LIMIT
    cursor: Annotated[
        str | None, Field(max_length=512, description="`next_cursor` of the page before; leave out to begin.")
    ] = None


class PageView(View, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next_cursor: Annotated[str | None, Field(description="Ask with it for the next page; null on the last.")]


@dataclass(frozen=True, slots=True)
class Sorting:
    """How a list can be sorted: the columns by the name that a caller gives, each with the id behind it.

    Statements are built with their values as parameters, so that each form of a list is built once.
    """

    columns: Mapping[str, ColumnElement[Any]]
    identity: ColumnElement[Any]

    def apply(
        self, statement: Select[*tuple[Any, ...]], sort: str, *, continued: bool
    ) -> Select[*tuple[Any, ...]]:
        """Order the statement, begin behind a cursor if continued, and fetch one row beyond the page."""
        column, descending = self.columns[sort.removeprefix("-")], sort.startswith("-")
        if continued:
            key = tuple_(column, self.identity)
            place = tuple_(
                bindparam("place_value", type_=column.type), bindparam("place_id", type_=self.identity.type)
            )
            statement = statement.where(key < place if descending else key > place)
        order = (column.desc(), self.identity.desc()) if descending else (column, self.identity)
        return statement.order_by(*order).limit(bindparam("page_rows", type_=Integer))

    def parameters(self, query: PageQuery, sort: str) -> dict[str, Any]:
        """Return the statement's parameters. Raises `Refusal` 422 for a cursor of another list."""
        values: dict[str, Any] = {"page_rows": query.limit + 1}
        if query.cursor is not None:
            type_of = self.columns[sort.removeprefix("-")].type.python_type
            values["place_value"], values["place_id"] = _read(query.cursor, sort, type_of=type_of)
        return values


def cut(
    rows: Sequence[T], query: PageQuery, *, sort: str, place: Callable[[T], tuple[Any, UUID]]
) -> tuple[Sequence[T], str | None]:
    """Return the page's rows and the cursor of the next page; `place` tells a row's sort value and id."""
    shown = rows[: query.limit]
    if len(rows) <= query.limit:
        return shown, None
    value, identity = place(shown[-1])
    written = value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
    text = json.dumps([sort, written, identity.hex], separators=(",", ":"), ensure_ascii=False)
    return shown, base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read(cursor: str, sort: str, *, type_of: type) -> tuple[Any, UUID]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        made_for, value, identity = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if made_for != sort or not isinstance(value, str) or "\0" in value:
            raise Refusal(CURSOR_INVALID)
        if type_of is datetime:
            instant = datetime.fromisoformat(value)
            aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
            return aware.astimezone(UTC), UUID(identity)
        return value, UUID(identity)
    except (binascii.Error, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise Refusal(CURSOR_INVALID) from error
