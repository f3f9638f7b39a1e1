"""The operators' endpoint of keys: taking over those that were issued elsewhere."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from farebox import problems
from farebox.endpoints import Access, Call, Endpoints, endpoint
from farebox.fields import Future, Input, Metadata, Name, Nothing, View
from farebox.keys import importing
from farebox.keys.importing import MOST_AT_ONCE, ForeignKey
from farebox.keys.restrictions import Networks, Scopes
from farebox.web import Answer


class ForeignKeyInput(Input):
    """A key that was issued elsewhere."""

    sha256: Annotated[
        str,
        StringConstraints(pattern="^[0-9a-f]{64}$"),
        Field(description="SHA-256 of the key's whole text, lower-case hexadecimal."),
    ]
    name: Name
    environment: Literal["live", "test"] = "live"
    hint: Annotated[
        str,
        StringConstraints(pattern=r"^[\x21-\x7e]{0,4}$"),
        Field(description="The last characters of the text, at most four, for people to tell keys apart."),
    ] = ""
    expires_at: Future | None = None
    scopes: Scopes | None = None
    cidrs: Networks | None = None
    metadata: Annotated[Metadata, Field(default_factory=dict)]


class ImportInput(Input):
    """Keys to take over, all or none."""

    keys: Annotated[list[ForeignKeyInput], Field(min_length=1, max_length=MOST_AT_ONCE)]


class ImportView(View):
    """The ids of the imported keys, in the order of the request."""

    ids: list[str]


@endpoint(
    "POST", "/admin/organizations/{organization_id}/keys/import", "Import API keys",
    tag="Operators", access=Access.OPERATOR, body=ImportInput, data=ImportView, status=201,
    identifiers={"organization_id": "org"},
    refusals=(
        problems.NOT_FOUND, problems.KEY_ALREADY_KNOWN, problems.TOO_MANY_KEYS, problems.EXPIRY_IN_THE_PAST,
    ),
)  # fmt: skip
async def import_keys(call: Call[ImportInput, Nothing]) -> Answer[ImportView]:
    """Takes over keys that were issued elsewhere, by their SHA-256: their holders go on using them, and
    nobody sees their texts. All are imported or none.
    """
    organization_id = await call.operate_within(call.identifier("organization_id"))
    names = await importing.take_over(
        call.session,
        organization_id,
        [
            ForeignKey(
                digest=key.sha256,
                name=key.name,
                environment=key.environment,
                hint=key.hint,
                expires_at=key.expires_at,
                scopes=key.scopes,
                cidrs=key.cidrs,
                metadata=key.metadata,
            )
            for key in call.body.keys
        ],
        creator=call.user_id,
        now=call.now,
    )
    return Answer(ImportView(ids=[f"key_{name}" for name in names]), f"{len(names)} keys imported.")


ENDPOINTS: Endpoints = (import_keys,)
