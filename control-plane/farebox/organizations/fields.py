"""The kinds of value that concern organizations: their ids and their time zones."""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from farebox.organizations.service import time_zones

OrganizationId = Annotated[
    str, StringConstraints(pattern=r"^org_[a-z0-9]{10}$"), Field(examples=["org_4f7q2kx81k"])
]


def _known_zone(value: str) -> str:
    if value not in time_zones():
        raise PydanticCustomError(
            "time_zone", "must be a name of the IANA time zone database such as Europe/Berlin"
        )
    return value


TimeZone = Annotated[
    str,
    StringConstraints(max_length=64),
    AfterValidator(_known_zone),
    WithJsonSchema({"type": "string", "maxLength": 64, "examples": ["Europe/Berlin"]}),
]
"""A name of the IANA time zone database."""
