"""The errors of Stripe's SDK as ours: did it refuse for good, or is it unknown what was done?"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import stripe

from farebox.payments.provider import ProviderAwayError, ProviderRefusedError

_LATER: Final = frozenset({401, 403, 409, 429})
"""Statuses that say nothing of the order itself: a wrong key, a lock, too many requests."""


@asynccontextmanager
async def speaking() -> AsyncIterator[None]:
    """Turn the SDK's errors into ours."""
    try:
        yield
    except stripe.StripeError as error:
        code = error.code or (error.error.type if error.error is not None else None) or type(error).__name__
        reason = (error.user_message or "no reason given").strip()[:500]
        status = error.http_status
        if status is None or status >= 500 or status in _LATER:
            raise ProviderAwayError(str(code), reason) from error
        raise ProviderRefusedError(str(code), reason) from error
