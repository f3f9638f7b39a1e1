"""What pieces of add-ons add to a period's charges. Pure: rows in, charges of the language out.

A prorated flat charge is owed for the seconds that each piece was there, a share that goes past 1 where
there are several pieces; one that is not prorated for the most pieces that there were at once. A charge by
usage prices the whole period once, however many pieces there are.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from typing import Any, Final

MAX_CODE: Final = 40
"""The longest code that a charge can have."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """Some pieces of an add-on's version for a part of a period: `seconds` of it."""

    version: str
    charges: Sequence[Mapping[str, Any]]
    quantity: int
    seconds: int


def charges_of(
    pieces: Iterable[Pieces], *, full_seconds: int, taken: Container[str] = ()
) -> list[dict[str, Any]]:
    """Return the charges that the pieces add to a period whose full length is `full_seconds`; none of them
    has a code that is `taken` by the plan.
    """
    versions: dict[str, list[Pieces]] = {}
    for each in pieces:
        if each.seconds > 0:
            versions.setdefault(each.version, []).append(each)
    added: list[dict[str, Any]] = []
    for version, held in versions.items():
        for number, charge in enumerate(held[0].charges, start=1):
            made = dict(charge) | {"code": _code(version, number, taken)}
            if charge.get("model") == "flat":
                made["share"] = _written(_share(charge, held, full_seconds))
            added.append(made)
    return added


def _code(version: str, number: int, taken: Container[str]) -> str:
    """Return the charge's code on invoices: the same in every period, and nobody else's."""
    code = f"{version}-{number}"
    if len(code) <= MAX_CODE and code not in taken:
        return code
    return f"add-on-{sha256(code.encode()).hexdigest()[:32]}"


def _share(charge: Mapping[str, Any], held: Sequence[Pieces], full_seconds: int) -> Fraction:
    if charge.get("prorate") != "second":
        return Fraction(max(each.quantity for each in held))
    return Fraction(sum(each.quantity * each.seconds for each in held), full_seconds)


def _written(share: Fraction) -> str:
    return f"{share.numerator}/{share.denominator}"
