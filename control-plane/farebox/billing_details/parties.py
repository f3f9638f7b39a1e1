"""Buyer and seller as an invoice names them. Pure values; an invoice keeps a copy of both."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from farebox.taxes.deciding import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A party's name and address. `country` is ISO 3166-1 alpha-2."""

    legal_name: str
    line1: str | None = None
    line2: str | None = None
    city: str | None = None
    region: str | None = None
    postal_code: str | None = None
    country: str | None = None
    tax_id: str | None = None
    email: str | None = None

    def shown(self) -> Mapping[str, Any]:
        """Return what is known, as plain JSON."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Buyer(Address):
    """Who is billed, and how: days until due (None: the house's), collection, language."""

    net_days: int | None = None
    collection: str = "automatic"
    language: str = "en"
    tax_exempt: bool = False

    @property
    def place(self) -> Place:
        """Return what taxes ask of a buyer."""
        return Place(self.country, self.region, self.tax_id, self.tax_exempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seller(Address):
    """Who issues the invoice; `code` is the issuer's."""

    code: str

    @property
    def place(self) -> Place:
        """Return what taxes ask of a seller."""
        return Place(self.country, self.region, self.tax_id)
