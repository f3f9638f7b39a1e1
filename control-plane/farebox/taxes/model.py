"""Tax rates, as operators keep them. A change is a new row from a date on; the old one stays for proof."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, Numeric, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base


class TaxRate(Base):
    """A tax of a country, or of one region: `rate` per cent from `valid_from` on; None: no longer levied.

    `inclusive`: prices hold the tax already. Where a region has rates, they stand instead of the country's.
    """

    __tablename__ = "tax_rates"
    __table_args__ = (
        UniqueConstraint("country", "region", "name", "valid_from"),
        CheckConstraint("country ~ '^[A-Z]{2}$'", name="country"),
        CheckConstraint("rate BETWEEN 0 AND 100", name="rate"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    country: Mapped[str] = mapped_column(String(2))
    region: Mapped[str] = mapped_column(String(10), server_default="")
    name: Mapped[str] = mapped_column(String(40))
    rate: Mapped[Decimal | None] = mapped_column(Numeric(9, 6))
    inclusive: Mapped[bool] = mapped_column(server_default=text("false"))
    valid_from: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
