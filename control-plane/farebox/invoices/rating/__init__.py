"""Rating: what a period's usage comes to. Pure and exact; one rounding, half-even, at the line.

    lines.py     what a rated line says, and the exact arithmetic behind it
    models.py    one charge: flat, per unit, graduated, volume, package, percentage
    periods.py   a whole period: shares of short periods, discounts, minimum and maximum

What is chosen where peers differ stands in docs/charges.md. Knows no plans, no calendar and no tax.
"""

from farebox.invoices.rating.lines import ROUNDING, RatedLine, RatingError, Step, Usage, plain, usage_of
from farebox.invoices.rating.models import counts_units, rate_one
from farebox.invoices.rating.periods import Discount, Share, price, rate

__all__ = [
    "ROUNDING",
    "Discount",
    "RatedLine",
    "RatingError",
    "Share",
    "Step",
    "Usage",
    "counts_units",
    "plain",
    "price",
    "rate",
    "rate_one",
    "usage_of",
]
