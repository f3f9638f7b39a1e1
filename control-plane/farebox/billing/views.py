"""The endpoints of billing, in the order in which the reference shows them."""

from farebox.billing import bills, prices, usage
from farebox.endpoints import Endpoints

ENDPOINTS: Endpoints = (*usage.ENDPOINTS, *prices.ENDPOINTS, *bills.ENDPOINTS)
