"""What `farebox doctor` looks at. Every check says what it found, and what to do where that is not good.

Reads only: it changes no row, no file and nothing at the gateway. A check that cannot be made because another
failed says so, instead of failing once more.
"""

from farebox_cli.doctor.examination import examine
from farebox_cli.doctor.findings import Finding, Verdict

__all__ = ["Finding", "Verdict", "examine"]
