"""Stripe's refusals in Stripe's shape: https://docs.stripe.com/api/errors.

A refusal is raised where it is noticed and written out in one place. `kept` ones (a declined card) leave what
was done so far: at Stripe a declined payment intent exists.
"""

from typing import Any

Obj = dict[str, Any]


class Refusal(Exception):  # noqa: N818 - refusing is an answer, not a fault
    """One answer that is no success."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        kept: bool = False,
        **more: Any,
    ) -> None:
        """`more` are further fields of the error object: code, param, decline_code, payment_intent, …"""
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.kept = kept
        self.more = {name: value for name, value in more.items() if value is not None}

    def body(self) -> Obj:
        """The JSON of the answer."""
        error: Obj = {"message": self.message, "type": self.kind, **self.more}
        if "code" in error:
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{error['code'].replace('_', '-')}"
        return {"error": error}


def unknown_parameter(name: str) -> Refusal:
    """A parameter that the API reference does not have."""
    return Refusal(400, f"Received unknown parameter: {name}", code="parameter_unknown", param=name)


def missing_parameter(name: str) -> Refusal:
    """A parameter that the API reference requires."""
    return Refusal(400, f"Missing required param: {name}.", code="parameter_missing", param=name)


def invalid(message: str, param: str, *, code: str | None = None) -> Refusal:
    """A value that cannot stand there."""
    return Refusal(400, message, param=param, code=code)


def no_such(what: str, object_id: str, *, param: str, status: int = 400) -> Refusal:
    """An object that does not exist: 404 where the path names it, 400 where a parameter does."""
    return Refusal(status, f"No such {what}: '{object_id}'", code="resource_missing", param=param)
