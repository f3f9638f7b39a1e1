"""How a key is shown: its view, and what is read for it. Knows no verbs."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from sqlalchemy import ColumnElement, func, select

from farebox import ids
from farebox.fields import Instant, View
from farebox.keys.model import ApiKey
from farebox.keys.service import KeyState, state_of
from farebox.usage.model import UsageDimension, UsageRollup
from farebox_contract.keys import Environment

KEYS: Final = ApiKey.__table__.c
_DIMENSIONS: Final = UsageDimension.__table__
_ROLLUPS: Final = UsageRollup.__table__


class KeyView(View):
    """An API key, without its text."""

    id: Annotated[str, Field(examples=["key_9tz3m1k0ab"])]
    name: str
    environment: Environment
    hint: Annotated[str, Field(description="The last four characters of the key.")]
    state: Annotated[
        KeyState,
        Field(
            description="`pending`: issued, not yet at every gateway. `enforced`: accepted at the gateways. "
            "`expired`. `revoking`: revoked, not yet at every gateway. `revoked`: refused at the gateways."
        ),
    ]
    created_by: Annotated[str, Field(description="The user who issued it.")]
    created_at: Instant
    expires_at: Instant | None
    revoked_at: Instant | None
    revoked_reason: Annotated[
        Literal["revoked", "rotated", "leaked"] | None,
        Field(description="`leaked`: somebody reported the key's text."),
    ]
    scopes: Annotated[
        list[str] | None, Field(description="`METHOD route` that it may call; null: everything.")
    ]
    cidrs: Annotated[list[str] | None, Field(description="Networks it may be used from; null: any.")]
    origin: Annotated[
        Literal["issued", "imported"], Field(description="`imported`: its text was made elsewhere.")
    ]
    replaces: Annotated[str | None, Field(description="The key that was rotated into this one.")]
    replaced_by: Annotated[str | None, Field(description="The key that this one was rotated into.")]
    last_used_at: Annotated[
        Instant | None,
        Field(description="The quarter hour of the last request with it, in the organization's time."),
    ]
    metadata: dict[str, str]


class IssuedKeyView(KeyView):
    """A key with its text: the one answer that shows it."""

    key: Annotated[
        str | None,
        Field(description="The whole key. Shown in this answer only; null when the answer is repeated."),
    ]


def last_used() -> ColumnElement[int | None]:
    """Return the Unix time of the last quarter hour in which the key of the row was used, as a column.

    Two look-ups in indexes for each route, outcome and status that the key has met.
    """
    latest = (
        select(func.max(_ROLLUPS.c.bucket))
        .where(_ROLLUPS.c.dimension_id == _DIMENSIONS.c.id)
        .correlate(_DIMENSIONS)
        .scalar_subquery()
    )
    return (
        select(func.max(latest))
        .where(_DIMENSIONS.c.key == KEYS.public_id, _DIMENSIONS.c.organization_id == KEYS.organization_id)
        .correlate(ApiKey.__table__)
        .scalar_subquery()
        .label("last_used")
    )


def name_of(other: ColumnElement[Any], label: str) -> ColumnElement[str | None]:
    """Return the public id of the key that `other` names, as a column."""
    key = ApiKey.__table__.alias()
    return select(key.c.public_id).where(key.c.id == other).scalar_subquery().label(label)


def columns() -> list[ColumnElement[Any]]:
    """Return what has to be read of each key that is shown."""
    plain = (
        "id", "public_id", "name", "environment", "hint", "state", "edge_revision", "expires_at",
        "created_by", "created_at", "revoked_at", "revoked_reason", "scopes", "cidrs", "origin",
    )  # fmt: skip
    return [
        *(KEYS[name] for name in plain),
        KEYS["metadata"].label("extra"),
        name_of(KEYS.replaces, "replaces_key"),
        name_of(KEYS.replaced_by, "replaced_by_key"),
        last_used(),
    ]


def shown(row: Any, *, enforced: int, now: datetime) -> dict[str, Any]:
    """Return the members of a `KeyView`. `row` gives the columns by name."""
    state = state_of(row["state"], row["edge_revision"], row["expires_at"], enforced=enforced, now=now)
    used = row["last_used"]
    return {
        "id": f"key_{row['public_id']}",
        "name": row["name"],
        "environment": row["environment"],
        "hint": row["hint"],
        "state": state,
        "created_by": ids.encode("user", row["created_by"]),
        "created_at": row["created_at"],
        "expires_at": row["expires_at"],
        "revoked_at": row["revoked_at"],
        "revoked_reason": row["revoked_reason"],
        "scopes": row["scopes"],
        "cidrs": row["cidrs"],
        "origin": row["origin"],
        "replaces": _prefixed(row["replaces_key"]),
        "replaced_by": _prefixed(row["replaced_by_key"]),
        "last_used_at": None if used is None else datetime.fromtimestamp(used, UTC),
        "metadata": row["extra"],
    }


def _prefixed(public_id: str | None) -> str | None:
    return None if public_id is None else f"key_{public_id}"
