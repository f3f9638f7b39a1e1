"""How billing details are asked for and shown, each text with its bounds."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from farebox.billing_details.countries import COUNTRIES
from farebox.fields import Email, Input, Instant, Line, View


def _known_country(value: str) -> str:
    if value not in COUNTRIES:
        raise PydanticCustomError(
            "remedy", "{problem}", {"problem": "must be a code of ISO 3166-1 such as DE"}
        )
    return value


Country = Annotated[
    str,
    AfterValidator(_known_country),
    WithJsonSchema({"type": "string", "enum": sorted(COUNTRIES)}, mode="validation"),
]
Language = Annotated[
    str,
    StringConstraints(max_length=35, pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$"),
    Field(description="BCP 47. Papers and mails come in en, de, fr or es; others get en.", examples=["de"]),
]
TaxId = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9 .\-+*/]{2,40}$"),
    Field(description="In the EU a VAT number with its country prefix.", examples=[None]),
]
Collection = Literal["automatic", "send_invoice"]


class AddressInput(Input):
    """A name and an address. What is left out is empty."""

    legal_name: Annotated[Line, Field(examples=["Acme GmbH"])]
    line1: Annotated[Line | None, Field(examples=["Torstraße 1"])] = None
    line2: Annotated[Line | None, Field(examples=[None])] = None
    city: Annotated[Line | None, Field(examples=["Berlin"])] = None
    region: Annotated[
        Line | None, Field(description="State or province, as its code where taxes differ.", examples=[None])
    ] = None
    postal_code: Annotated[Line | None, Field(examples=["10119"])] = None
    country: Annotated[Country | None, Field(examples=["DE"])] = None
    tax_id: TaxId | None = None
    email: Annotated[Email | None, Field(description="Where invoices go; else to the owners.")] = None


class DetailsInput(AddressInput):
    """Who is billed."""

    language: Language = "en"


class TermsInput(Input):
    """What an operator agreed with a customer. What is left out stays."""

    net_days: Annotated[
        Annotated[int, Field(ge=0, le=365)] | None,
        Field(description="Days from issue to due; null: the house's terms.", examples=[30]),
    ] = None
    collection: Annotated[Collection | None, Field(examples=["send_invoice"])] = None
    tax_exempt: bool | None = None


class IssuerInput(AddressInput):
    """Who issues invoices."""

    number_prefix: Annotated[
        str, StringConstraints(pattern=r"^[A-Za-z0-9./_\-]{0,20}$"), Field(examples=["FB-"])
    ] = "FB-"


class AddressView(View):
    """A name and an address."""

    legal_name: str
    line1: str | None
    line2: str | None
    city: str | None
    region: str | None
    postal_code: str | None
    country: str | None
    tax_id: str | None
    email: str | None


class DetailsView(AddressView):
    """Who is billed, and how."""

    language: str
    net_days: Annotated[int | None, Field(description="Null: the house's terms, 14 days.")]
    collection: Collection
    tax_exempt: bool
    updated_at: Annotated[Instant | None, Field(description="Null: nobody has given details yet.")]


class IssuerView(AddressView):
    """Who issues invoices; `code` is what the setting `issuer` names."""

    code: str
    number_prefix: str


class IssuersView(View):
    """All of them."""

    items: list[IssuerView]


def shown(row: Any, view: type[Any]) -> dict[str, Any]:
    """Return a row's members that the view has."""
    return {name: getattr(row, name) for name in view.model_fields}
