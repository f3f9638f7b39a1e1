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
from sqlalchemy import ColumnElement, Select, tuple_

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
    """How a list can be sorted: the columns by the name that a caller gives, each with the id behind it."""

    columns: Mapping[str, ColumnElement[Any]]
    identity: ColumnElement[Any]

    def apply(self, statement: Select[Any], *, sort: str, query: PageQuery) -> Select[Any]:
        """Order the statement, begin behind the cursor, and fetch one row more than the page holds."""
        name = sort.removeprefix("-")
        column, descending = self.columns[name], sort.startswith("-")
        if query.cursor is not None:
            place = _read(query.cursor, sort, type_of=column.type.python_type)
            key = tuple_(column, self.identity)
            statement = statement.where(key < place if descending else key > place)
        order = (column.desc(), self.identity.desc()) if descending else (column, self.identity)
        return statement.order_by(*order).limit(query.limit + 1)


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
            return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)), UUID(identity)
        return value, UUID(identity)
    except (binascii.Error, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Refusal(CURSOR_INVALID) from error
