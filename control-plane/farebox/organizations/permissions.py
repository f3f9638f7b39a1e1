"""Who may do what in an organization: the matrix, as data. `docs/api.md` shows it as a table.

A role is looked up in the database at each request; nothing here trusts a token.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Role(StrEnum):
    """A user's role in one organization."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"


class Permission(StrEnum):
    """Something that a role may allow."""

    VIEW_ORGANIZATION = "view_organization"
    EDIT_ORGANIZATION = "edit_organization"
    VIEW_DASHBOARD = "view_dashboard"
    VIEW_KEYS = "view_keys"
    CREATE_KEYS = "create_keys"
    REVOKE_OWN_KEYS = "revoke_own_keys"
    REVOKE_ALL_KEYS = "revoke_all_keys"
    VIEW_OWN_USAGE = "view_own_usage"
    VIEW_ALL_USAGE = "view_all_usage"
    VIEW_BILLING = "view_billing"
    CHANGE_PLAN = "change_plan"
    MANAGE_PAYMENTS = "manage_payments"


_EVERYONE: Final = frozenset(Role)
_MANAGERS: Final = frozenset({Role.OWNER, Role.ADMIN})
_OWNER: Final = frozenset({Role.OWNER})

MATRIX: Final[Mapping[Permission, frozenset[Role]]] = MappingProxyType(
    {
        Permission.VIEW_ORGANIZATION: _EVERYONE,
        Permission.EDIT_ORGANIZATION: _MANAGERS,
        Permission.VIEW_DASHBOARD: _EVERYONE,
        Permission.VIEW_KEYS: _EVERYONE,
        Permission.CREATE_KEYS: _EVERYONE,
        Permission.REVOKE_OWN_KEYS: _EVERYONE,
        Permission.REVOKE_ALL_KEYS: _MANAGERS,
        Permission.VIEW_OWN_USAGE: _EVERYONE,
        Permission.VIEW_ALL_USAGE: _MANAGERS,
        Permission.VIEW_BILLING: _MANAGERS,
        Permission.CHANGE_PLAN: _OWNER,
        Permission.MANAGE_PAYMENTS: _OWNER,
    }
)


def allows(role: Role, permission: Permission) -> bool:
    """Tell whether the role has the permission."""
    return role in MATRIX[permission]
