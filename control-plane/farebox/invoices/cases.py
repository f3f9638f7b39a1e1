"""Cases of pricing in a file: charges and quantities beside what they should come to (docs/charges.md).

So that anybody can try a plan, and run other systems' published examples through our rater. Pure: documents
in, results out; what cannot be read is named by its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Final

from farebox.invoices import charges as language
from farebox.invoices.rating import Discount, RatedLine, Share, Usage, price
from farebox.money import MINOR_DIGITS, Money
from farebox.subscriptions.periods import period_containing
from farebox.taxes.deciding import Place, Rate, taxes_of
from farebox.taxes.levying import Levied, included, levy

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MEMBERS: Final = frozenset(
    {
        "name", "source", "currency", "charges", "quantities", "period", "share", "quota", "discounts",
        "taxes", "credits", "expect", "note",
    }
)  # fmt: skip
_EXPECTED: Final = frozenset({"lines", "subtotal", "tax", "total", "credits", "due"})


class CaseError(ValueError):
    """A case that cannot be read; the message begins with its place."""


@dataclass(frozen=True, slots=True)
class Result:
    """A case, priced. `lines` are before tax, `credits` what they pay of the total, `due` what is left (0
    for a negative total: that becomes balance). `differences` say what was expected instead; none: it holds.
    """

    name: str
    lines: tuple[RatedLine, ...]
    taxes: tuple[Levied, ...]
    subtotal: Money
    tax: Money
    total: Money
    credits: Money
    due: Money
    differences: tuple[str, ...]


def run(document: Any) -> list[Result]:
    """Price every case of a document, and compare. Raises `CaseError`, `ChargeError`, `RatingError`,
    `CurrencyError`, `MixedTaxesError`.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("cases"), list):
        raise CaseError('expected an object with "cases", a list')
    return [_run(case, f"cases[{number}]") for number, case in enumerate(document["cases"])]


def _run(case: Any, place: str) -> Result:
    if not isinstance(case, Mapping):
        raise CaseError(f"{place}: expected an object")
    _known(case, _MEMBERS, place)
    currency = case.get("currency", "USD")
    if currency not in MINOR_DIGITS:
        raise CaseError(f"{place}.currency: expected one of {', '.join(sorted(MINOR_DIGITS))}")
    lines = price(
        language.parse(case.get("charges")),
        _usage(case.get("quantities", {}), f"{place}.quantities"),
        currency,
        share=_share(case, place),
        discounts=[
            _discount(each, currency, f"{place}.discounts[{number}]")
            for number, each in enumerate(case.get("discounts", []))
        ],
    )
    gross = sum((line.amount for line in lines), Money(currency, 0))
    taxes = levy(_taxes(case.get("taxes", {}), f"{place}.taxes"), gross)
    subtotal = gross + -included(taxes, currency)
    tax = sum((each.amount for each in taxes), Money(currency, 0))
    total = subtotal + tax
    paid = Money(currency, min(_minor(case.get("credits", "0"), currency, place), max(total.minor, 0)))
    due = Money(currency, max(total.minor, 0) - paid.minor)
    sums = {"subtotal": subtotal, "tax": tax, "total": total, "credits": paid, "due": due}
    differences = _differences(case.get("expect", {}), lines, sums, currency, f"{place}.expect")
    name = str(case.get("name", place))
    return Result(name, lines, taxes, subtotal, tax, total, paid, due, tuple(differences))


def _usage(document: Any, place: str) -> dict[str, Usage]:
    if not isinstance(document, Mapping):
        raise CaseError(f"{place}: expected an object of quantities by meter")
    found = {}
    for meter, value in document.items():
        if isinstance(value, Mapping):
            _known(value, frozenset({"total", "events", "amounts"}), f"{place}.{meter}")
            raw = value.get("amounts")
            amounts = (
                None if raw is None else tuple(_decimal(each, f"{place}.{meter}.amounts") for each in raw)
            )
            events = value.get("events", None if amounts is None else len(amounts))
            total = sum(amounts, Decimal(0)) if amounts is not None else None
            given = _decimal(value["total"], f"{place}.{meter}.total") if "total" in value else total
            if given is None:
                raise CaseError(f"{place}.{meter}: expected total or amounts")
            found[str(meter)] = Usage(given, events, amounts)
        else:
            found[str(meter)] = Usage(_decimal(value, f"{place}.{meter}"))
    return found


def _share(case: Mapping[str, Any], place: str) -> Share | None:
    quota = None if case.get("quota") is None else _decimal(case["quota"], f"{place}.quota")
    if "period" in case:
        period = case["period"]
        try:
            start, end = (datetime.fromisoformat(period[edge]) for edge in ("start", "end"))
            full = period_containing(
                start, time_zone=period.get("time_zone", "UTC"), anchor_day=period.get("anchor_day", 1)
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CaseError(f"{place}.period: expected start, end, time_zone, anchor_day: {error}") from error
        seconds = [int(each.timestamp() // 1) for each in (start, end, full.start, full.end)]
        return Share(seconds[1] - seconds[0], seconds[3] - seconds[2], quota)
    try:
        share = Fraction(case.get("share", "1"))
    except (ValueError, TypeError, ZeroDivisionError):
        raise CaseError(f'{place}.share: expected a fraction as text, such as "10/30"') from None
    return Share(share.numerator, share.denominator, quota)


def _discount(document: Mapping[str, Any], currency: str, place: str) -> Discount:
    _known(document, frozenset({"code", "name", "percent", "amount"}), place)
    if ("percent" in document) == ("amount" in document):
        raise CaseError(f"{place}: expected percent or amount, one of the two")
    code = str(document.get("code", "discount"))
    if "percent" in document:
        return Discount(code, str(document.get("name", code)), _decimal(document["percent"], place))
    amount = Money(currency, _minor(document["amount"], currency, place))
    return Discount(code, str(document.get("name", code)), amount=amount)


def _taxes(document: Any, place: str) -> Sequence[Any]:
    if not document:
        return ()
    if not isinstance(document, Mapping):
        raise CaseError(f"{place}: expected an object with rates, seller and buyer")
    _known(document, frozenset({"rates", "seller", "buyer", "at"}), place)
    rates = [
        Rate(
            str(each["country"]),
            str(each.get("region", "")),
            str(each["name"]),
            _decimal(each["rate"], f"{place}.rates"),
            bool(each.get("inclusive", False)),
            datetime.fromisoformat(each["from"]) if "from" in each else _LONG_AGO,
        )
        for each in document.get("rates", [])
    ]
    at = datetime.fromisoformat(document["at"]) if "at" in document else datetime.max.replace(tzinfo=UTC)
    seller, buyer = (Place(**document.get(party, {})) for party in ("seller", "buyer"))
    return taxes_of(rates, seller=seller, buyer=buyer, at=at)


def _differences(
    expected: Mapping[str, Any],
    lines: Sequence[RatedLine],
    sums: Mapping[str, Money],
    currency: str,
    place: str,
) -> list[str]:
    _known(expected, _EXPECTED, place)
    found = []
    for name, derived in sums.items():
        if name in expected and _minor(expected[name], currency, place, signed=True) != derived.minor:
            found.append(f"{name}: expected {expected[name]}, comes to {derived}")
    if "lines" in expected:
        wanted = [
            (str(kind), str(code), _minor(amount, currency, f"{place}.lines", signed=True))
            for kind, code, amount in expected["lines"]
        ]
        derived_lines = [(line.kind, line.code, line.amount.minor) for line in lines]
        if wanted != derived_lines:
            found.append(f"lines: expected {wanted}, come to {derived_lines} (minor units)")
    return found


def _known(document: Mapping[str, Any], members: frozenset[str], place: str) -> None:
    for name in sorted(document.keys() - members):
        raise CaseError(f"{place}.{name}: is not known here; there are {', '.join(sorted(members))}")


def _decimal(value: Any, place: str) -> Decimal:
    if not isinstance(value, str):
        raise CaseError(f'{place}: expected a decimal number as text, such as "0.01"')
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise CaseError(f"{place}: {value!r} is no decimal number") from None
    if not number.is_finite():
        raise CaseError(f"{place}: {value!r} is no finite number")
    return number


def _minor(value: Any, currency: str, place: str, *, signed: bool = False) -> int:
    exact = _decimal(value, place).scaleb(MINOR_DIGITS[currency])
    if exact != exact.to_integral_value() or (exact < 0 and not signed):
        raise CaseError(f"{place}: {value!r} is no amount of whole minor units of {currency}")
    return int(exact)
