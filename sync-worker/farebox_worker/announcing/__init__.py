"""What follows an event: letters to people, and work for others. Written where the event is completed.

    people.py    who is told, and in which language
    money.py     invoices and payments
    accounts.py  subscriptions, keys, usage
    links.py     where a letter leads

An event's announcements are rows of the outbox, written in the transaction that completes the event's own
row: an event is announced once, however often its worker is killed. Sends nothing itself.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from farebox import outbox
from farebox_worker.announcing import accounts, money
from farebox_worker.announcing.telling import Announcement, Telling

__all__ = ["ANNOUNCEMENTS", "Announcement", "Telling"]

ANNOUNCEMENTS: Final[Mapping[str, Announcement]] = MappingProxyType(
    {
        outbox.INVOICE_ISSUED.name: money.invoice_issued,
        outbox.INVOICE_OVERDUE.name: money.invoice_overdue,
        outbox.PAYMENT_SUCCEEDED.name: money.payment_succeeded,
        outbox.PAYMENT_FAILED.name: money.payment_failed,
        outbox.SUBSCRIPTION_CHANGED.name: accounts.subscription_changed,
        outbox.TRIAL_ENDING.name: accounts.trial_ending,
        outbox.KEY_CREATED.name: accounts.key_created,
        outbox.KEY_LEAKED.name: accounts.key_leaked,
        outbox.USAGE_THRESHOLD.name: accounts.usage_threshold,
    }
)
