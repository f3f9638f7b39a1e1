"""Amounts and currencies as Stripe takes them: integers in minor units, with a floor and a ceiling. Pure.

https://docs.stripe.com/currencies
"""

from collections.abc import Mapping
from typing import Final

from babel.numbers import list_currencies

from farebox.sandbox.stripe.errors import Refusal, invalid

CEILING: Final = 99_999_999
_FLOORS: Final[Mapping[str, int]] = {
    "usd": 50,
    "aed": 200,
    "aud": 50,
    "brl": 50,
    "cad": 50,
    "chf": 50,
    "czk": 1500,
    "dkk": 250,
    "eur": 50,
    "gbp": 30,
    "hkd": 400,
    "huf": 17500,
    "inr": 50,
    "jpy": 50,
    "mxn": 1000,
    "myr": 200,
    "nok": 300,
    "nzd": 50,
    "pln": 200,
    "ron": 200,
    "sek": 300,
    "sgd": 50,
    "thb": 1000,
}
_KNOWN: Final = frozenset(code.lower() for code in list_currencies())


def currency(given: str) -> str:
    """The currency in lower case; Refusal where there is none of this code."""
    if (code := given.lower()) not in _KNOWN:
        raise invalid(f"Invalid currency: {given}. Give an ISO 4217 code.", "currency")
    return code


def chargeable(amount: int, code: str, *, param: str = "amount") -> int:
    """An amount that can be charged; Refusal for one below the floor or above the ceiling."""
    if amount < 1:
        raise invalid(
            "This value must be greater than or equal to 1.", param, code="parameter_invalid_integer"
        )
    if amount < (floor := _FLOORS.get(code, 1)):
        raise Refusal(
            400,
            f"Amount must be at least {floor} {code} in minor units.",
            code="amount_too_small",
            param=param,
        )
    if amount > CEILING:
        raise Refusal(400, f"Amount must be no more than {CEILING}.", code="amount_too_large", param=param)
    return amount
