"""Where a letter leads: pages of the control plane, and an invoice's own page, which a signature opens."""

from datetime import datetime

from farebox.invoices import links
from farebox.settings import Settings


def invoice_page(settings: Settings, invoice: str, *, now: datetime) -> str:
    """Return the URL of an invoice's page (`inv_…`), signed; without a link secret, of the members' page."""
    base = settings.public_url.rstrip("/")
    secret = settings.link_secret.get_secret_value()
    if not secret:
        return f"{base}/billing"
    return f"{base}/invoices/{links.sign(secret, invoice, expires=now + links.LIFETIME)}"
