"""`make bench`: every benchmark, one after another, each in a process of its own.

    python -m tests.bench [NAME…]

Those of a real Apache APISIX run only when they are named: each says in its docstring what must stand, and
ends with status 2 without it.

A benchmark prints a table and its figures as JSON; nothing is asserted. Run it on a machine that does
nothing else, and read ratios rather than seconds.
"""

import subprocess
import sys
from pathlib import Path
from typing import Final

BENCHMARKS: Final = (
    "edge_throughput",
    "edge_admin_writes",
    "sync_latency",
    "sync_full_pass",
    "collect_speed",
    "api_load",
    "invoice_run",
    "webhook_intake",
    "reinstatement",
)

ON_APISIX: Final = ("apisix_key_changes", "apisix_throughput", "overshoot", "apisix_lines")


def main(wanted: list[str]) -> int:
    """Run the wanted benchmarks, or all; return 1 if one of them failed to run, 2 if a name is unknown."""
    known = (*BENCHMARKS, *ON_APISIX)
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    failed = []
    for name in wanted or BENCHMARKS:
        print(f"\n== {name}", flush=True)
        root = Path(__file__).resolve().parents[2]
        if subprocess.run([sys.executable, "-m", f"tests.bench.{name}"], cwd=root, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"\nnot measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
