"""Which taxes a sale falls under. Pure: rates in force, who sells, who buys.

- Who is exempt pays none, and the invoice says so.
- Within the EU, a business in another member state than the seller's, with a VAT number of that state's form,
  owes the tax itself: reverse charge (Directive 2006/112/EC, articles 44 and 196).
- Else the rates of the buyer's region, or where it has none those of the country. A region's rates stand
  instead of the country's, so a region with a federal and a provincial tax lists both.
- A buyer without a country is taxed nowhere: the invoice names no tax.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from farebox.taxes.levying import Tax
from farebox.taxes.vat_numbers import EU, is_well_formed


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate from an instant on; `rate` None: no longer levied."""

    country: str
    region: str
    name: str
    rate: Decimal | None
    inclusive: bool
    valid_from: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """Where a party is, as far as taxes ask. `country` ISO 3166-1 alpha-2, upper case."""

    country: str | None = None
    region: str | None = None
    tax_id: str | None = None
    tax_exempt: bool = False


def taxes_of(rates: Iterable[Rate], *, seller: Place, buyer: Place, at: datetime) -> tuple[Tax, ...]:
    """Return the taxes of a sale at `at`, by name."""
    if buyer.country is None:
        return ()
    here = [rate for rate in in_force(rates, at) if rate.country == buyer.country]
    region = (buyer.region or "").upper()
    local = [rate for rate in here if region and rate.region == region]
    due = local or [rate for rate in here if not rate.region]
    if not due:
        return ()
    if buyer.tax_exempt:
        return (Tax("exempt", due[0].name, buyer.country),)
    if is_reverse_charge(seller, buyer):
        return (Tax("reverse_charge", due[0].name, buyer.country),)
    return tuple(
        Tax("levied", rate.name, rate.country, rate.region, rate.rate or Decimal(0), rate.inclusive)
        for rate in due
    )


def is_reverse_charge(seller: Place, buyer: Place) -> bool:
    """Whether the buyer owes the tax himself."""
    return (
        seller.country in EU
        and buyer.country in EU
        and buyer.country != seller.country
        and buyer.tax_id is not None
        and is_well_formed(buyer.tax_id, country=buyer.country)
    )


def in_force(rates: Iterable[Rate], at: datetime) -> list[Rate]:
    """Return of each country, region and name the newest rate that holds at `at`, sorted by name."""
    newest: dict[tuple[str, str, str], Rate] = {}
    for rate in rates:
        key = (rate.country, rate.region, rate.name)
        if rate.valid_from <= at and (key not in newest or newest[key].valid_from < rate.valid_from):
            newest[key] = rate
    held = [rate for rate in newest.values() if rate.rate is not None]
    return sorted(held, key=lambda rate: (rate.country, rate.region, rate.name))
