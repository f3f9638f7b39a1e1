"""Amounts as people write them, read strictly: what is not plainly an amount is refused. Pure."""

import re
from typing import Final

from farebox.money import MINOR_DIGITS, Money

LARGEST_MINOR: Final = 10**12 - 1
AMOUNT_PATTERN: Final = r"^(0|[1-9][0-9]{0,12})(\.[0-9]{1,3})?$"
_GRAMMAR: Final = re.compile(AMOUNT_PATTERN, re.ASCII)


class AmountError(ValueError):
    """The text is no amount that can be charged; the message says what to send instead."""


def parse(text: str, currency: str) -> Money:
    """Read an amount in major units, such as "42.99": digits 0-9, and none or all of the currency's decimals.

    Raises `AmountError` for anything else, for zero, and for more than 10^12 - 1 minor units.
    """
    digits = MINOR_DIGITS[currency]
    example = "42" if digits == 0 else f"42.{'9' * digits}"
    found = _GRAMMAR.fullmatch(text)
    if found is None:
        raise AmountError(f"must be an amount in {currency} such as {example}, in digits 0-9 without a sign")
    fraction = (found[2] or "").removeprefix(".")
    if fraction and len(fraction) != digits:
        places = "no decimals" if digits == 0 else f"{digits} decimals or none"
        raise AmountError(f"must have {places} in {currency}, such as {example}")
    minor = int(found[1]) * 10**digits + int(fraction or "0")
    if minor == 0:
        raise AmountError("must be above zero")
    if minor > LARGEST_MINOR:
        raise AmountError(f"must be at most {Money(currency, LARGEST_MINOR)}")
    return Money(currency, minor)
