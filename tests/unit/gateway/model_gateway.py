"""A gateway as a dictionary, to apply plans to: it adds what a real one adds, and refuses what it refuses."""

from collections.abc import Iterable
from typing import Any

from farebox_gateway.defaults import DEFAULTS
from farebox_gateway.planner import Plan
from farebox_gateway.resources import Kind, Observed, Ref

_REFERENCES = (
    ("upstream_id", Kind.UPSTREAM),
    ("service_id", Kind.SERVICE),
    ("group_id", Kind.CONSUMER_GROUP),
)


class ModelGateway:
    """Holds resources, stamps them, merges defaults, and insists on references as APISIX does."""

    def __init__(self, standing: Iterable[Observed] = ()) -> None:
        self.objects: dict[Ref, dict[str, Any]] = {found.ref: dict(found.body) for found in standing}
        self.writes = 0

    def observed(self) -> list[Observed]:
        """Everything that stands here."""
        return [Observed(ref, body) for ref, body in self.objects.items()]

    def apply(self, plan: Plan) -> None:
        """Carry the steps out in their order."""
        for step in plan.steps:
            self.writes += 1
            if step.body is None:
                self._delete(step.ref)
            else:
                self._put(step.ref, dict(step.body))

    def _put(self, ref: Ref, body: dict[str, Any]) -> None:
        for member, kind in _REFERENCES:
            if member in body:
                assert Ref(kind, body[member]) in self.objects, f"{ref} refers to nothing"
        if ref.kind is Kind.CREDENTIAL:
            assert Ref(Kind.CONSUMER, ref.consumer) in self.objects, "consumer not found"
        stamped = {"create_time": 1, "update_time": self.writes}
        self.objects[ref] = {**DEFAULTS.get(ref.kind, {}), **body, **stamped}

    def _delete(self, ref: Ref) -> None:
        for other, body in self.objects.items():
            for member, kind in _REFERENCES:
                assert (kind, body.get(member)) != (ref.kind, ref.id), f"{other} still uses {ref}"
        del self.objects[ref]
        if ref.kind is Kind.CONSUMER:
            for other in [one for one in self.objects if one.consumer == ref.id]:
                del self.objects[other]
