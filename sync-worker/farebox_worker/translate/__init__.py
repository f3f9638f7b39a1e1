"""What was sold, said in the gateway's words. Pure: frozen values in, resources out.

    consumers.py    an organization is a consumer
    credentials.py  an API key is a credential of it
    catalogue.py    plan versions are consumer groups, products services; routes are themselves
    catalogue_upstreams.py, catalogue_traffic.py  upstreams; policies as APISIX's own plugins
    instants.py     Unix milliseconds

Nothing here reads a database or speaks to a gateway.
"""

from farebox_worker.translate.catalogue import (
    CANARY_PATH,
    CANARY_ROUTE,
    CatalogueFacts,
    PlanFacts,
    canary,
    catalogue,
    marker_text,
    plan,
    product,
    route,
)
from farebox_worker.translate.catalogue_traffic import lacking
from farebox_worker.translate.catalogue_upstreams import upstream
from farebox_worker.translate.consumers import (
    OrganizationFacts,
    SubscriptionFacts,
    WallPeriod,
    current_period,
    organization,
    periods,
)
from farebox_worker.translate.credentials import KeyFacts, credential
from farebox_worker.translate.instants import milliseconds

__all__ = [
    "CANARY_PATH",
    "CANARY_ROUTE",
    "CatalogueFacts",
    "KeyFacts",
    "OrganizationFacts",
    "PlanFacts",
    "SubscriptionFacts",
    "WallPeriod",
    "canary",
    "catalogue",
    "credential",
    "current_period",
    "lacking",
    "marker_text",
    "milliseconds",
    "organization",
    "periods",
    "plan",
    "product",
    "route",
    "upstream",
]
