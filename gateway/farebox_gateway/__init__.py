"""The gateway's side: APISIX's resources, the planner, the Admin API client; and the embedded gateway.

It knows no accounts and no SQL.
"""
