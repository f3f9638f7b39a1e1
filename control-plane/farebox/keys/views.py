"""The endpoints of API keys."""

from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from sqlalchemy import Select, Uuid, bindparam, select

from farebox import ids, problems
from farebox.endpoints import Call, Endpoints, endpoint
from farebox.fields import Future, Input, Instant, Metadata, Name, Nothing, View
from farebox.gateways import service as gateways
from farebox.keys import service
from farebox.keys.model import ApiKey
from farebox.keys.service import KeyState, state_of
from farebox.organizations.permissions import Permission, allows
from farebox.pagination import PageQuery, PageView, Sorting, cut
from farebox.runtime import SETTINGS
from farebox.web import Answer
from farebox_contract.keys import Environment

TAG = "API keys"
_KEYS: Final = ApiKey.__table__.c
_LISTED: Final = [
    *(_KEYS[name] for name in ("id", "public_id", "name", "environment", "hint", "state", "edge_revision")),
    *(_KEYS[name] for name in ("expires_at", "created_by", "created_at", "revoked_at")),
    _KEYS["metadata"].label("extra"),
]
_SORTING: Final = Sorting(columns={"created_at": _KEYS.created_at, "name": _KEYS.name}, identity=_KEYS.id)


class KeyInput(Input):
    """A key to issue."""

    name: Annotated[Name, Field(description="For people to tell keys apart.", examples=["billing service"])]
    environment: Annotated[
        Environment, Field(description="Test keys are metered and limited, never billed.")
    ] = "live"
    expires_at: Annotated[Future | None, Field(description="The key ends then; null: never.")] = None
    metadata: Annotated[Metadata, Field(default_factory=dict)]


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
    metadata: dict[str, str]


class IssuedKeyView(KeyView):
    """A key with its text: the one answer that shows it."""

    key: Annotated[
        str | None,
        Field(description="The whole key. Shown in this answer only; null when the answer is repeated."),
    ]


class KeysQuery(PageQuery):
    """Which keys to list, and in which order."""

    environment: Environment | None = None
    status: Annotated[
        Literal["active", "revoked"] | None,
        Field(description="What was decided, whatever the gateways have."),
    ] = None
    sort: Literal["created_at", "-created_at", "name", "-name"] = "-created_at"


def _shown(row: Any, *, enforced: int, now: datetime) -> dict[str, Any]:
    return {
        "id": f"key_{row.public_id}",
        "name": row.name,
        "environment": row.environment,
        "hint": row.hint,
        "state": state_of(row.state, row.edge_revision, row.expires_at, enforced=enforced, now=now),
        "created_by": ids.encode("user", row.created_by),
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "revoked_at": row.revoked_at,
        "metadata": row.extra,
    }


def _entry(row: Any, *, now: datetime) -> KeyView:
    return KeyView.model_construct(
        id=f"key_{row['public_id']}",
        name=row["name"],
        environment=row["environment"],
        hint=row["hint"],
        state=state_of(
            row["state"], row["edge_revision"], row["expires_at"], enforced=row["enforced"], now=now
        ),
        created_by=ids.encode("user", row["created_by"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        metadata=row["extra"],
    )


@endpoint(
    "POST", "/keys", "Issue an API key",
    tag=TAG, permission=Permission.CREATE_KEYS, body=KeyInput, data=IssuedKeyView, status=201,
    refusals=(problems.EMAIL_NOT_VERIFIED, problems.TOO_MANY_KEYS, problems.EXPIRY_IN_THE_PAST),
)  # fmt: skip
async def issue(call: Call[KeyInput, Nothing]) -> Answer[IssuedKeyView]:
    """Issues a key and shows its text, this once. We keep only its SHA-256. The key is `pending` until every
    gateway has it, which takes well under a second as a rule. Live keys need a verified e-mail.
    """
    issued = await service.issue(
        call.session,
        call.organization_id,
        creator=call.user_id,
        name=call.body.name,
        environment=call.body.environment,
        expires_at=call.body.expires_at,
        metadata=call.body.metadata,
        prefix=call.request.app[SETTINGS].key_prefix,
        now=call.now,
    )
    shown = _shown(issued.row, enforced=0, now=call.now)
    return Answer(
        IssuedKeyView(**shown, key=issued.key.text),
        "Key issued. Store it now: it is not shown again.",
        kept=IssuedKeyView(**shown, key=None),
        kept_message="Issued by the first request with this Idempotency-Key; the key was shown only then.",
    )


@endpoint(
    "GET", "/keys", "List API keys",
    tag=TAG, permission=Permission.VIEW_KEYS, query=KeysQuery, data=PageView[KeyView], reads=True,
    refusals=(problems.CURSOR_INVALID,),
)  # fmt: skip
async def list_keys(call: Call[Nothing, KeysQuery]) -> Answer[PageView[KeyView]]:
    """Lists the organization's keys, revoked ones included, newest first unless sorted otherwise."""
    query = call.query
    statement = _listing(
        query.sort,
        environment=query.environment is not None,
        status=query.status is not None,
        continued=query.cursor is not None,
    )
    values = {"organization": call.organization_id, **_SORTING.parameters(query, query.sort)}
    if query.environment is not None:
        values["environment"] = query.environment
    if query.status is not None:
        values["status"] = query.status
    rows = await call.rows(statement, values)
    name = query.sort.removeprefix("-")
    page, following = cut(rows, query, sort=query.sort, place=lambda row: (row[name], row["id"]))
    items = [_entry(row, now=call.now) for row in page]
    return Answer(PageView[KeyView].model_construct(items=items, next_cursor=following), "Keys listed.")


@lru_cache(maxsize=64)
def _listing(sort: str, *, environment: bool, status: bool, continued: bool) -> Select[*tuple[Any, ...]]:
    statement: Select[*tuple[Any, ...]] = select(
        *_LISTED, gateways.enforced_for(bindparam("organization", type_=Uuid)).label("enforced")
    ).where(_KEYS.organization_id == bindparam("organization", type_=Uuid))
    if environment:
        statement = statement.where(_KEYS.environment == bindparam("environment"))
    if status:
        statement = statement.where(_KEYS.state == bindparam("status"))
    return _SORTING.apply(statement, sort, continued=continued)


@endpoint(
    "GET", "/keys/{key_id}", "Show an API key",
    tag=TAG, permission=Permission.VIEW_KEYS, data=KeyView, identifiers={"key_id": "key"},
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def show(call: Call[Nothing, Nothing]) -> Answer[KeyView]:
    """Shows one key, without its text. Ask again to see when it has become `enforced` or `revoked`."""
    row = await service.get(call.session, call.organization_id, call.identifier("key_id"))
    enforced = await gateways.enforced_revision(call.session, call.organization_id)
    return Answer(KeyView(**_shown(row, enforced=enforced, now=call.now)), "Key shown.")


@endpoint(
    "DELETE", "/keys/{key_id}", "Revoke an API key",
    tag=TAG, permission=Permission.REVOKE_OWN_KEYS, data=KeyView, identifiers={"key_id": "key"},
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def revoke(call: Call[Nothing, Nothing]) -> Answer[KeyView]:
    """Revokes a key for good. It is `revoking` until every gateway refuses it. Revoking it again changes
    nothing. Members revoke keys that they created; owners and admins any.
    """
    row = await service.revoke(
        call.session,
        call.organization_id,
        call.identifier("key_id"),
        revoker=call.user_id,
        may_revoke_all=allows(call.role, Permission.REVOKE_ALL_KEYS),
        now=call.now,
    )
    enforced = await gateways.enforced_revision(call.session, call.organization_id)
    return Answer(KeyView(**_shown(row, enforced=enforced, now=call.now)), "Key revoked.")


ENDPOINTS: Endpoints = (issue, list_keys, show, revoke)
