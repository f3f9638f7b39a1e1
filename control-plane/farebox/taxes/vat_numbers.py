"""The form of the EU's VAT identification numbers, country by country. Pure.

From the European Commission's list of structures (VIES, "FAQ", question 11). A number of the right form
need not be registered; asking VIES is a person's or another program's work.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_FORMS: Final[Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {
        country: re.compile(form, re.ASCII)
        for country, form in {
            "AT": r"U\d{8}",
            "BE": r"[01]\d{9}",
            "BG": r"\d{9,10}",
            "CY": r"\d{8}[A-Z]",
            "CZ": r"\d{8,10}",
            "DE": r"\d{9}",
            "DK": r"\d{8}",
            "EE": r"\d{9}",
            "EL": r"\d{9}",
            "ES": r"[A-Z0-9]\d{7}[A-Z0-9]",
            "FI": r"\d{8}",
            "FR": r"[A-Z0-9]{2}\d{9}",
            "HR": r"\d{11}",
            "HU": r"\d{8}",
            "IE": r"\d[A-Z0-9+*]\d{5}[A-Z]|\d{7}[A-Z]{1,2}",
            "IT": r"\d{11}",
            "LT": r"\d{9}|\d{12}",
            "LU": r"\d{8}",
            "LV": r"\d{11}",
            "MT": r"\d{8}",
            "NL": r"[A-Z0-9+*]{9}B[A-Z0-9+*]{2}",
            "PL": r"\d{10}",
            "PT": r"\d{9}",
            "RO": r"\d{2,10}",
            "SE": r"\d{12}",
            "SI": r"\d{8}",
            "SK": r"\d{10}",
        }.items()
    }
)
EU: Final = frozenset({"GR" if country == "EL" else country for country in _FORMS})
"""The member states, by their ISO 3166-1 codes (Greece is GR there and EL in a VAT number)."""


def normal(number: str) -> str:
    """Return the number without spaces, dots and hyphens, in capitals."""
    return re.sub(r"[\s.\-]", "", number).upper()


def is_well_formed(number: str, *, country: str) -> bool:
    """Whether the number has the form of `country` (ISO 3166-1), its prefix included."""
    prefix = "EL" if country == "GR" else country
    bare = normal(number)
    form = _FORMS.get(prefix)
    return form is not None and bare.startswith(prefix) and bool(form.fullmatch(bare[2:]))
