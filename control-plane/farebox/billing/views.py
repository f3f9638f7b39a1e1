"""The endpoints of billing, in the order in which the reference shows them."""

from farebox.billing import bills, usage
from farebox.endpoints import Endpoints

ENDPOINTS: Endpoints = (*usage.ENDPOINTS, *bills.ENDPOINTS)
