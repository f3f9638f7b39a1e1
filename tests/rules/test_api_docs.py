"""The pages about the API say what the code does: codes, settings, permissions and bounds."""

import re
from pathlib import Path

import pytest

from farebox import problems
from farebox.app import ENDPOINTS
from farebox.endpoints import Access
from farebox.organizations.permissions import MATRIX, Permission, Role
from farebox.settings import Settings
from farebox_contract import problems as contract

DOCS = Path(__file__).resolve().parents[2] / "docs"


def headings(page: str) -> list[str]:
    """The headings of a page that are in code type."""
    return re.findall(r"^#+ `([^`]+)`$", (DOCS / page).read_text(), re.MULTILINE)


def test_each_error_code_has_a_heading() -> None:
    """Whoever gets a code finds it described, and nothing is described that does not exist."""
    edge = {value for name, value in vars(contract).items() if name.isupper() and isinstance(value, str)}
    assert sorted(headings("errors.md")) == sorted({*problems.PROBLEMS, *edge})


def test_the_status_of_each_code_is_the_documented_one() -> None:
    """The page names the status that the code answers with."""
    page = (DOCS / "errors.md").read_text()
    for problem in problems.PROBLEMS.values():
        assert re.search(rf"^### `{problem.code}`\n{problem.status}\. ", page, re.MULTILINE), problem.code


def test_each_setting_has_a_heading() -> None:
    """An operator finds every setting, and none that does nothing."""
    assert sorted(headings("settings.md")) == sorted(
        f"FAREBOX_{name.upper()}" for name in Settings.model_fields
    )


@pytest.mark.parametrize("permission", list(Permission))
def test_the_matrix_is_the_documented_one(permission: Permission) -> None:
    """The table in docs/api.md is the matrix, cell by cell."""
    row = re.search(rf"^\| `{permission.value}` \| (.*) \|$", (DOCS / "api.md").read_text(), re.MULTILINE)
    assert row is not None
    shown = dict(zip((Role.OWNER, Role.ADMIN, Role.MEMBER), row[1].split(" | "), strict=True))
    assert shown == {role: "yes" if role in MATRIX[permission] else "no" for role in Role}


def test_every_permission_is_asked_for() -> None:
    """No cell of the matrix is dead, and every endpoint for members asks for one."""
    asked = {declared.permission for declared in ENDPOINTS if declared.access is Access.MEMBER}
    beyond = {Permission.REVOKE_ALL_KEYS, Permission.VIEW_ALL_USAGE}  # asked for inside their endpoints
    assert asked | beyond == set(Permission)


def test_every_refusal_is_in_the_catalogue() -> None:
    """A code cannot mean two things: each problem stands in the catalogue under its own code."""
    declared = [value for value in vars(problems).values() if isinstance(value, problems.Problem)]
    assert len({problem.code for problem in declared}) == len(declared) == len(problems.PROBLEMS)
