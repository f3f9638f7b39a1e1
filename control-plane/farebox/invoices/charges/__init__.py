"""The rating language: what a plan version charges, read from JSON into values that cannot be nonsense.

docs/charges.md describes it. `values.py` holds what there is, `reading.py` reads it.
"""

from farebox.invoices.charges.reading import (
    MAX_CHARGES,
    MAX_TIERS,
    ChargeError,
    parse,
    parse_billable,
    parse_one,
    units,
)
from farebox.invoices.charges.values import (
    UNITS,
    Charge,
    Flat,
    Graduated,
    Maximum,
    Metered,
    Minimum,
    Package,
    Percentage,
    PerUnit,
    Tier,
    Volume,
)

__all__ = [
    "MAX_CHARGES",
    "MAX_TIERS",
    "UNITS",
    "Charge",
    "ChargeError",
    "Flat",
    "Graduated",
    "Maximum",
    "Metered",
    "Minimum",
    "Package",
    "PerUnit",
    "Percentage",
    "Tier",
    "Volume",
    "parse",
    "parse_billable",
    "parse_one",
    "units",
]
