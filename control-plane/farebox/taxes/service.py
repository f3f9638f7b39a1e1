"""Tax rates: list them, and set one from a date on. Operators write, everybody reads."""

from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids
from farebox.taxes.deciding import Rate
from farebox.taxes.model import TaxRate


async def rates(session: AsyncSession) -> list[Rate]:
    """Return every rate there ever was, by place, name and date."""
    rows = await session.scalars(
        select(TaxRate).order_by(TaxRate.country, TaxRate.region, TaxRate.name, TaxRate.valid_from)
    )
    return [Rate(row.country, row.region, row.name, row.rate, row.inclusive, row.valid_from) for row in rows]


async def set_rate(session: AsyncSession, rate: Rate) -> None:
    """Have a rate hold from its date on; one of the same place, name and date is replaced.

    Raises `ValueError` for a rate outside 0 to 100 per cent. Invoices issued before keep what they say.
    """
    if rate.rate is not None and not Decimal(0) <= rate.rate <= Decimal(100):
        raise ValueError(f"a tax rate lies between 0 and 100 per cent, not at {rate.rate}")
    values = {
        "id": ids.uuid7(),
        "country": rate.country,
        "region": rate.region,
        "name": rate.name,
        "rate": rate.rate,
        "inclusive": rate.inclusive,
        "valid_from": rate.valid_from,
    }
    statement = insert(TaxRate).values(values)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["country", "region", "name", "valid_from"],
            set_={"rate": rate.rate, "inclusive": rate.inclusive},
        )
    )
