"""What a gateway cannot serve is kept back from it, and said: no feature is missing silently.

A resource whose plugins are not all loaded is neither pushed nor deleted; what stands there stays, and the
catalogue counts as not enforced until the plugin is loaded or the feature taken away.
"""

from collections.abc import Iterable, Sequence

from farebox_gateway.planner import Conflict, Plan
from farebox_gateway.resources import Resource
from farebox_worker import translate


def keep_back(made: Plan, desired: Sequence[Resource], loaded: Iterable[str]) -> Plan:
    """Return the plan without the steps that need a plugin that is not loaded; each is a conflict instead."""
    lacking = translate.lacking(desired, loaded)
    if not lacking:
        return made
    return Plan(
        tuple(step for step in made.steps if step.ref not in lacking),
        (*made.conflicts, *(Conflict(ref, why) for ref, why in lacking.items())),
        made.foreign,
    )
