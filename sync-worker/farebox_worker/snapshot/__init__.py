"""What stands in the database, read as the translation wants it. The worker's role sees all tenants."""

from farebox_worker.snapshot.catalogue import catalogue
from farebox_worker.snapshot.organizations import open_after, organizations, organizations_named

__all__ = ["catalogue", "open_after", "organizations", "organizations_named"]
