"""The endpoints of API keys."""

from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints
from sqlalchemy import Select, Uuid, bindparam, select

from farebox import problems
from farebox.endpoints import Access, Call, Endpoints, endpoint
from farebox.fields import Empty, Future, Input, Metadata, Name, Nothing
from farebox.gateways import service as gateways
from farebox.keys import leaks, rotation, service
from farebox.keys.restrictions import Networks, Scopes
from farebox.keys.rotation import DEFAULT_GRACE, LONGEST_GRACE
from farebox.keys.shown import KEYS, IssuedKeyView, KeyView, columns, shown
from farebox.organizations.permissions import Permission, allows
from farebox.pagination import PageQuery, PageView, Sorting, cut
from farebox.problems import Refusal
from farebox.runtime import SETTINGS
from farebox.web import Answer
from farebox_contract.keys import Environment

TAG = "API keys"
_SORTING: Final = Sorting(columns={"created_at": KEYS.created_at, "name": KEYS.name}, identity=KEYS.id)
# Made once: to put a statement of so many parts together costs more than to run it.
_ONE: Final = select(
    *columns(), gateways.enforced_for(bindparam("organization", type_=Uuid)).label("enforced")
).where(KEYS.organization_id == bindparam("organization", type_=Uuid), KEYS.public_id == bindparam("key"))
_KEPT: Final = "Issued by the first request with this Idempotency-Key; the key was shown only then."
_SCOPES: Final = "`METHOD route` that the key may call, `*` for any. Left out or null: everything."
_CIDRS: Final = "IPv4 and IPv6 networks the key may be used from. Left out or null: any."


class KeyInput(Input):
    """A key to issue."""

    name: Annotated[Name, Field(description="For people to tell keys apart.", examples=["billing service"])]
    environment: Annotated[
        Environment, Field(description="Test keys are metered and limited, never billed.")
    ] = "live"
    expires_at: Annotated[Future | None, Field(description="The key ends then; null: never.")] = None
    scopes: Annotated[Scopes | None, Field(description=_SCOPES)] = None
    cidrs: Annotated[Networks | None, Field(description=_CIDRS)] = None
    metadata: Annotated[Metadata, Field(default_factory=dict)]


class KeyChanges(Input):
    """What to change of a key; members left out stay as they are, null takes a restriction or an end away."""

    name: Annotated[Name | None, Field(description="For people to tell keys apart.")] = None
    expires_at: Future | None = None
    scopes: Annotated[Scopes | None, Field(description=_SCOPES)] = None
    cidrs: Annotated[Networks | None, Field(description=_CIDRS)] = None
    metadata: Annotated[Metadata | None, Field(description="Replaces all of it.")] = None


class RotationInput(Input):
    """How to rotate a key."""

    grace_seconds: Annotated[
        int,
        Field(
            ge=0,
            le=int(LONGEST_GRACE.total_seconds()),
            description="How long the old key lives on, at most to its own expiry; 0 revokes it at once.",
        ),
    ] = int(DEFAULT_GRACE.total_seconds())
    expires_at: Annotated[
        Future | None,
        Field(description="When the new key ends; left out: after as long a life as the old one was given."),
    ] = None


class LeakInput(Input):
    """A key whose text was seen where it should not be."""

    key: Annotated[str, StringConstraints(min_length=8, max_length=128), Field(description="The whole text.")]
    found_at: Annotated[
        Annotated[
            str, StringConstraints(min_length=1, max_length=leaks.SOURCE_LENGTH, pattern=r"^[\x21-\x7e]+$")
        ]
        | None,
        Field(description="Where it was seen, such as a URL.", examples=["https://example.com/gist/1"]),
    ] = None


class KeysQuery(PageQuery):
    """Which keys to list, and in which order."""

    environment: Environment | None = None
    status: Annotated[
        Literal["active", "revoked"] | None,
        Field(description="What was decided, whatever the gateways have."),
    ] = None
    sort: Literal["created_at", "-created_at", "name", "-name"] = "-created_at"


class RotatedKeyView(IssuedKeyView):
    """The successor with its text, and the key that it replaces."""

    replaced: KeyView


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
        scopes=call.body.scopes,
        cidrs=call.body.cidrs,
        metadata=call.body.metadata,
        prefix=call.request.app[SETTINGS].key_prefix,
        now=call.now,
    )
    members = await _members(call, issued.key.name.key)
    return Answer(
        IssuedKeyView(**members, key=issued.key.text),
        "Key issued. Store it now: it is not shown again.",
        kept=IssuedKeyView(**members, key=None),
        kept_message=_KEPT,
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
    items = [KeyView.model_construct(**shown(row, enforced=row["enforced"], now=call.now)) for row in page]
    return Answer(PageView[KeyView].model_construct(items=items, next_cursor=following), "Keys listed.")


@lru_cache(maxsize=64)
def _listing(sort: str, *, environment: bool, status: bool, continued: bool) -> Select[*tuple[Any, ...]]:
    statement: Select[*tuple[Any, ...]] = select(
        *columns(), gateways.enforced_for(bindparam("organization", type_=Uuid)).label("enforced")
    ).where(KEYS.organization_id == bindparam("organization", type_=Uuid))
    if environment:
        statement = statement.where(KEYS.environment == bindparam("environment"))
    if status:
        statement = statement.where(KEYS.state == bindparam("status"))
    return _SORTING.apply(statement, sort, continued=continued)


@endpoint(
    "GET", "/keys/{key_id}", "Show an API key",
    tag=TAG, permission=Permission.VIEW_KEYS, data=KeyView, identifiers={"key_id": "key"},
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def show(call: Call[Nothing, Nothing]) -> Answer[KeyView]:
    """Shows one key, without its text. Ask again to see when it has become `enforced` or `revoked`."""
    return Answer(KeyView(**await _members(call, call.identifier("key_id"))), "Key shown.")


@endpoint(
    "PATCH", "/keys/{key_id}", "Change an API key",
    tag=TAG, permission=Permission.CREATE_KEYS, body=KeyChanges, data=KeyView, identifiers={"key_id": "key"},
    refusals=(problems.NOT_FOUND, problems.KEY_IS_OVER, problems.EXPIRY_IN_THE_PAST),
)  # fmt: skip
async def change(call: Call[KeyChanges, Nothing]) -> Answer[KeyView]:
    """Changes name, metadata, expiry, scopes or networks of a living key. A changed restriction is `pending`
    until every gateway has it. Members change keys that they created; owners and admins any. A key that is
    revoked or expired stays so.
    """
    changes = call.body.model_dump(exclude_unset=True)
    for name in ("name", "metadata"):
        if name in changes and changes[name] is None:
            raise Refusal(
                problems.INVALID_REQUEST,
                details={"fields": [{"field": name, "problem": "must not be null; leave it out to keep it"}]},
            )
    if "metadata" in changes:
        changes["extra"] = changes.pop("metadata")
    await service.edit(
        call.session,
        call.organization_id,
        call.identifier("key_id"),
        editor=call.user_id,
        may_edit_all=allows(call.role, Permission.REVOKE_ALL_KEYS),
        changes=changes,
        now=call.now,
    )
    return Answer(KeyView(**await _members(call, call.identifier("key_id"))), "Key changed.")


@endpoint(
    "POST", "/keys/{key_id}/rotate", "Rotate an API key",
    tag=TAG, permission=Permission.CREATE_KEYS, body=RotationInput, data=RotatedKeyView, status=201,
    identifiers={"key_id": "key"},
    refusals=(
        problems.NOT_FOUND, problems.KEY_IS_OVER, problems.KEY_ALREADY_ROTATED, problems.EXPIRY_IN_THE_PAST,
        problems.EMAIL_NOT_VERIFIED, problems.TOO_MANY_KEYS,
    ),
)  # fmt: skip
async def rotate(call: Call[RotationInput, Nothing]) -> Answer[RotatedKeyView]:
    """Issues a successor with the same name, environment, restrictions and metadata, and shows its text, this
    once. The old key lives on for the grace, a day unless said otherwise, and both share limits and quota.
    """
    done = await rotation.rotate(
        call.session,
        call.organization_id,
        call.identifier("key_id"),
        rotator=call.user_id,
        may_rotate_all=allows(call.role, Permission.REVOKE_ALL_KEYS),
        grace=timedelta(seconds=call.body.grace_seconds),
        expires_at=call.body.expires_at,
        prefix=call.request.app[SETTINGS].key_prefix,
        now=call.now,
    )
    successor = await _members(call, done.successor.key.name.key)
    old = KeyView(**await _members(call, done.old.public_id))
    return Answer(
        RotatedKeyView(**successor, key=done.successor.key.text, replaced=old),
        "Key rotated. Store the new one now: it is not shown again.",
        kept=RotatedKeyView(**successor, key=None, replaced=old),
        kept_message=_KEPT,
    )


@endpoint(
    "DELETE", "/keys/{key_id}", "Revoke an API key",
    tag=TAG, permission=Permission.REVOKE_OWN_KEYS, data=KeyView, identifiers={"key_id": "key"},
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def revoke(call: Call[Nothing, Nothing]) -> Answer[KeyView]:
    """Revokes a key for good. It is `revoking` until every gateway refuses it. Revoking it again changes
    nothing. Members revoke keys that they created; owners and admins any.
    """
    await service.revoke(
        call.session,
        call.organization_id,
        call.identifier("key_id"),
        revoker=call.user_id,
        may_revoke_all=allows(call.role, Permission.REVOKE_ALL_KEYS),
        now=call.now,
    )
    return Answer(KeyView(**await _members(call, call.identifier("key_id"))), "Key revoked.")


@endpoint(
    "POST", "/keys/report-leak", "Report a leaked key",
    tag=TAG, access=Access.PUBLIC, guarded=True, body=LeakInput, data=Empty, status=202,
)  # fmt: skip
async def report_leak(call: Call[LeakInput, Nothing]) -> Answer[Empty]:
    """Whoever found the text of a key reports it here: if it is one of ours it is revoked at once and for
    good, and its owner is told. The answer is the same whether there is such a key.
    """
    await leaks.report(call.session, call.body.key, source=call.body.found_at, now=call.now)
    return Answer(Empty(), "Thank you. If this is a key of ours, it is revoked now.")


async def _members(call: Call[Any, Nothing], key_id: str) -> dict[str, Any]:
    """Read one key as it is shown. Raises `Refusal` 404."""
    values = {"organization": call.organization_id, "key": key_id}
    row = (await call.session.execute(_ONE, values)).mappings().one_or_none()
    if row is None:
        raise Refusal(problems.NOT_FOUND)
    return shown(row, enforced=row["enforced"], now=call.now)


ENDPOINTS: Endpoints = (issue, list_keys, show, change, rotate, revoke, report_leak)
