"""The shape and the stable codes of every refusal, at the edge and in the control-plane API.

`{"success": false, "error": {"code", "message", "details", "request_id"}}`. A code never changes its
meaning; each has a heading in `docs/errors.md`.
"""

from collections.abc import Mapping
from typing import Any, Final

MISSING_KEY: Final = "missing_api_key"
INVALID_KEY: Final = "invalid_api_key"
KEY_NOT_ALLOWED: Final = "api_key_not_allowed"
ACCOUNT_SUSPENDED: Final = "account_suspended"
RATE_LIMITED: Final = "rate_limit_exceeded"
QUOTA_EXCEEDED: Final = "quota_exceeded"
LIMITS_UNAVAILABLE: Final = "limits_unavailable"
NO_ROUTE: Final = "route_not_found"
HTTPS_REQUIRED: Final = "https_required"
UPSTREAM_FAILED: Final = "upstream_failed"
UPSTREAM_TIMEOUT: Final = "upstream_timeout"


def envelope(
    code: str, message: str, *, request_id: str, details: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the body of an error answer; `details` is an object, empty when there is nothing to add."""
    return {
        "success": False,
        "error": {"code": code, "message": message, "details": dict(details or {}), "request_id": request_id},
    }
