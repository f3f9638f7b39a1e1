"""Replacements as APISIX's configurations write them, `$1` and `${1}`, for Python's regular expressions."""

import re


def template(replacement: str) -> str:
    """Return Python's form of a replacement: `$1` and `${1}` are groups, a backslash is itself."""
    escaped = replacement.replace("\\", "\\\\")
    return re.sub(r"\$(?:\{(\d+)\}|(\d+))", lambda found: f"\\g<{found[1] or found[2]}>", escaped)
