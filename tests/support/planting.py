"""Rows that other parts of the system would have made: usage, invoices, memberships."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from tests.support.api_client import Person

from farebox import ids
from farebox.add_ons.model import AddOn, AddOnVersion, SubscriptionAddOn
from farebox.alerts.model import AlertFiring, AlertThreshold, SpendingCap
from farebox.billing_details.model import BillingProfile
from farebox.coupons.model import Coupon, CouponRedemption
from farebox.credits import service as credits_
from farebox.db import Database
from farebox.gateways.model import Gateway, GatewayOrganization
from farebox.invoices.model import Invoice, InvoiceLine, InvoiceTax, PeriodTally
from farebox.money import Money
from farebox.organizations.model import Membership, Organization, TestClockOffset
from farebox.subscriptions.model import BillingPeriod, LimitOverride, Subscription
from farebox.usage.model import UsageCorrection, UsageDimension, UsageRollup, UsageStatement


async def organization_uuid(worker: Database, person: Person) -> UUID:
    """Return the organization's id as the database has it."""
    async with worker.transaction() as session:
        found = await session.scalar(
            select(Organization.id).where(Organization.public_id == person.organization_id[4:])
        )
    assert found is not None
    return found


async def join(worker: Database, person: Person, organization: UUID, role: str) -> None:
    """Make a person a member."""
    async with worker.transaction() as session:
        session.add(Membership(organization_id=organization, user_id=person.user_uuid, role=role))


async def enforced(worker: Database, organization: UUID, revision: int) -> None:
    """Have the gateway report that it has applied a revision."""
    async with worker.transaction() as session:
        gateway = (await session.scalars(select(Gateway.id))).one()
        await session.merge(
            GatewayOrganization(gateway_id=gateway, organization_id=organization, applied_revision=revision)
        )


async def usage(
    worker: Database,
    organization: UUID,
    at: datetime,
    *,
    key: str,
    requests: int,
    route: str = "messages",
    outcome: str = "served",
    status: int = 200,
    environment: str = "live",
) -> None:
    """Count requests of one key (its id as `key_…`) in the quarter hour of `at`."""
    async with worker.transaction() as session:
        row = (
            await session.execute(
                select(Organization.public_id, Subscription.id, Subscription.public_id)
                .join(Subscription, Subscription.organization_id == Organization.id)
                .where(Organization.id == organization, Subscription.state != "ended")
            )
        ).one()
        dimension = UsageDimension(
            organization_id=organization,
            subscription_id=row[1],
            org=row[0],
            sub=row[2],
            key=key.removeprefix("key_"),
            plan_group="free-1",
            route=route,
            environment=environment,
            outcome=outcome,
            status=status,
        )
        session.add(dimension)
        await session.flush()
        session.add(
            UsageRollup(
                dimension_id=dimension.id,
                bucket=int(at.timestamp()) // 900 * 900,
                organization_id=organization,
                requests=requests,
                units=requests,
                bytes_in=0,
                bytes_out=0,
                microseconds=0,
            )
        )


async def invoice(worker: Database, organization: UUID, *, number: str, at: datetime, minor: int) -> str:
    """Write a finalized invoice with one line; returns its public id."""
    invoice_id, statement_id = ids.uuid7(), ids.uuid7()
    async with worker.transaction() as session:
        period = (
            await session.scalars(
                select(BillingPeriod).where(BillingPeriod.organization_id == organization).limit(1)
            )
        ).one()
        session.add(UsageStatement(id=statement_id, body={}, digest=b"\0" * 32))
        await session.flush()
        made = Invoice(
            id=invoice_id,
            organization_id=organization,
            subscription_id=period.subscription_id,
            period_id=period.id,
            issuer="Farebox",
            currency="USD",
            period_start=at,
            period_end=at + timedelta(days=1),
            subtotal_minor=minor,
            tax_minor=0,
            total_minor=minor,
            snapshot={},
            statement_id=statement_id,
            created_at=at,
        )
        session.add(made)
        await session.flush()
        session.add(
            InvoiceLine(
                id=ids.uuid7(),
                organization_id=organization,
                invoice_id=invoice_id,
                position=1,
                charge_code="base",
                description="Base",
                quantity=1,
                amount_minor=minor,
                detail={},
            )
        )
        session.add(
            InvoiceTax(
                id=ids.uuid7(),
                organization_id=organization,
                invoice_id=invoice_id,
                position=1,
                kind="exempt",
                name="VAT",
                country="DE",
                rate=0,
                inclusive=False,
                base_minor=minor,
                amount_minor=0,
            )
        )
        await session.flush()
        made.state, made.number, made.finalized_at = "finalized", number, at
    return ids.encode("inv", invoice_id)


async def billing(worker: Database, organization: UUID, at: datetime) -> None:
    """Give an organization billing details, a credit with its entry, a coupon, and a period to count
    again."""
    async with worker.transaction() as session:
        period = await session.scalar(
            select(BillingPeriod.id).where(BillingPeriod.organization_id == organization).limit(1)
        )
        coupon_id, code = ids.uuid7(), f"SAVE-{organization.hex[-12:]}"
        session.add(BillingProfile(organization_id=organization, legal_name="Planted Ltd"))
        session.add(PeriodTally(period_id=period, organization_id=organization))
        session.add(Coupon(id=coupon_id, code=code, name="Planted", percent=10))
        await credits_.grant(
            session,
            organization,
            kind="prepaid",
            amount=Money("USD", 100),
            expires_at=None,
            source="planted",
            now=at,
        )
        await session.flush()
        session.add(
            CouponRedemption(
                id=ids.uuid7(),
                organization_id=organization,
                coupon_id=coupon_id,
                code=code,
                name="Planted",
                percent=10,
                redeemed_at=at,
            )
        )


async def usage_correction(worker: Database, organization: UUID, at: datetime) -> None:
    """Add a unit to the organization's running period."""
    async with worker.transaction() as session:
        period = (
            await session.scalars(
                select(BillingPeriod)
                .where(BillingPeriod.organization_id == organization)
                .order_by(BillingPeriod.starts_at.desc())
                .limit(1)
            )
        ).one()
        session.add(
            UsageCorrection(
                id=ids.uuid7(),
                organization_id=organization,
                subscription_id=period.subscription_id,
                period_id=period.id,
                quantity=1,
                at=at,
                reason="planted",
                actor="test",
            )
        )


async def clock_offset(worker: Database, organization: UUID, at: datetime) -> None:
    """Give an organization a test clock that runs with the wall's."""
    async with worker.transaction() as session:
        session.add(TestClockOffset(organization_id=organization, began_at=at, offset_ms=0))


async def spending(worker: Database, organization: UUID, at: datetime) -> None:
    """Give an organization an add-on, an override, a cap, and a threshold that was passed."""
    async with worker.transaction() as session:
        period = (
            await session.scalars(
                select(BillingPeriod).where(BillingPeriod.organization_id == organization).limit(1)
            )
        ).one()
        add_on, version, threshold = ids.uuid7(), ids.uuid7(), ids.uuid7()
        name = f"extra-{add_on.hex[-12:]}"
        session.add(AddOn(id=add_on, code=name, name="Extra"))
        await session.flush()
        session.add(
            AddOnVersion(
                id=version,
                add_on_id=add_on,
                version=1,
                code=f"{name}-1",
                state="published",
                currency="USD",
                charges=[],
                published_at=at,
            )
        )
        session.add(
            LimitOverride(
                organization_id=organization, quota=None, limits=[], reason="test", actor="test", set_at=at
            )
        )
        session.add(
            SpendingCap(organization_id=organization, amount_minor=1, currency="EUR", actor="test", set_at=at)
        )
        session.add(
            AlertThreshold(id=threshold, organization_id=organization, kind="amount", value=1, created_at=at)
        )
        await session.flush()
        session.add(
            SubscriptionAddOn(
                id=ids.uuid7(),
                organization_id=organization,
                subscription_id=period.subscription_id,
                add_on_version_id=version,
                quantity=1,
                from_at=at,
            )
        )
        session.add(
            AlertFiring(
                threshold_id=threshold, period_id=period.id, organization_id=organization, fired_at=at
            )
        )
