"""The buyer's and the seller's details. An invoice keeps a copy in its snapshot; these rows live on."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, String, text
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base


class Party:
    """Who stands on an invoice, buyer or seller: a name, an address, a tax number, and where mail goes."""

    legal_name: Mapped[str] = mapped_column(String(200))
    email: Mapped[str | None] = mapped_column(String(320))
    line1: Mapped[str | None] = mapped_column(String(200))
    line2: Mapped[str | None] = mapped_column(String(200))
    city: Mapped[str | None] = mapped_column(String(200))
    region: Mapped[str | None] = mapped_column(String(200))
    postal_code: Mapped[str | None] = mapped_column(String(200))
    country: Mapped[str | None] = mapped_column(String(2))
    tax_id: Mapped[str | None] = mapped_column(String(40))


class BillingProfile(Party, Base):
    """How an organization is billed. `country` ISO 3166-1 alpha-2, `language` BCP 47, `net_days` None: the
    house's terms; `collection`: charged at once (`automatic`) or paid by the customer (`send_invoice`).
    """

    __tablename__ = "billing_profiles"
    __table_args__ = (
        CheckConstraint("country ~ '^[A-Z]{2}$'", name="country"),
        CheckConstraint("net_days BETWEEN 0 AND 365", name="net_days"),
        CheckConstraint("collection IN ('automatic', 'send_invoice')", name="collection"),
    )

    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"), primary_key=True)
    language: Mapped[str] = mapped_column(String(35), server_default="en")
    net_days: Mapped[int | None]
    collection: Mapped[str] = mapped_column(server_default="automatic")
    tax_exempt: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class Issuer(Party, Base):
    """An entity that issues invoices. `code` is the setting `issuer`; its numbers begin with the prefix."""

    __tablename__ = "issuers"
    __table_args__ = (CheckConstraint("country ~ '^[A-Z]{2}$'", name="country"),)

    code: Mapped[str] = mapped_column(String(100), primary_key=True)
    number_prefix: Mapped[str] = mapped_column(String(20), server_default="FB-")
