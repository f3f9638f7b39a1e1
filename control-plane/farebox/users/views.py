"""The endpoints of people: registering, logging in, verifying an e-mail, choosing an organization."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.endpoints import Access, Call, Endpoints, endpoint
from farebox.fields import Email, Empty, GivenPassword, Input, Instant, Name, NewPassword, Nothing, View
from farebox.organizations import service as organizations
from farebox.organizations.fields import OrganizationId, TimeZone
from farebox.organizations.permissions import Role
from farebox.organizations.service import Belonging
from farebox.problems import Refusal
from farebox.runtime import DATABASE, LEAKED, PASSWORDS, TOKENS
from farebox.users import service
from farebox.users.model import User
from farebox.users.passwords import refuse_weak
from farebox.users.tokens import Principal
from farebox.web import Answer

TAG = "Identity"


class RegisterInput(Input):
    """A person and his organization."""

    email: Email
    password: NewPassword
    name: Annotated[Name | None, Field(description="The person's name.", examples=["Ada"])] = None
    organization_name: Annotated[Name, Field(examples=["Analytical Engines"])]
    time_zone: Annotated[TimeZone, Field(description="Billing periods begin at midnight there.")] = "UTC"


class LoginInput(Input):
    """Credentials, and the organization to act in."""

    email: Email
    password: GivenPassword
    organization_id: Annotated[
        OrganizationId | None, Field(description="Left out: the organization you joined first.")
    ] = None


class EmailInput(Input):
    """An e-mail address."""

    email: Email


class VerifyInput(Input):
    """The token out of the verification mail."""

    token: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class SwitchInput(Input):
    """The organization to act in from now on."""

    organization_id: OrganizationId


class UserView(View):
    """A person."""

    id: Annotated[str, Field(examples=["user_01kaj3m9x2e8r9v0c7w1q5t4yz"])]
    email: str
    name: str
    email_verified: bool
    is_operator: bool
    created_at: Instant


class BelongingView(View):
    """An organization and the caller's role in it."""

    id: Annotated[str, Field(examples=["org_4f7q2kx81k"])]
    name: str
    state: str
    role: Role


class RegisteredView(View):
    """What registering made."""

    user: UserView
    organization: BelongingView


class TokenView(View):
    """An access token: send it as `Authorization: Bearer …`."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_at: Instant
    organization: Annotated[
        BelongingView | None, Field(description="The organization that the token carries.")
    ]


class MeView(View):
    """Who the token speaks for."""

    user: UserView
    organization: BelongingView | None
    organizations: list[BelongingView]


def _user(user: User) -> UserView:
    return UserView(
        id=ids.encode("user", user.id),
        email=user.email,
        name=user.name,
        email_verified=user.email_verified_at is not None,
        is_operator=user.is_operator,
        created_at=user.created_at,
    )


def belonging_view(belonging: Belonging) -> BelongingView:
    """Show an organization as one of its members sees it."""
    return BelongingView(
        id=f"org_{belonging.public_id}", name=belonging.name, state=belonging.state, role=belonging.role
    )


@endpoint(
    "POST", "/auth/register", "Register",
    tag=TAG, access=Access.PUBLIC, body=RegisterInput, data=RegisteredView, status=201, begins=False,
    guarded=True,
    refusals=(problems.EMAIL_TAKEN, problems.PASSWORD_TOO_WEAK, problems.BUSY),
)  # fmt: skip
async def register(call: Call[RegisterInput, Nothing]) -> Answer[RegisteredView]:
    """Makes a user and his organization on the free plan, and sends a verification mail. Log in next; test
    keys can be issued at once, live keys after verifying.
    """
    body, app = call.body, call.request.app
    name = body.name or ""
    refuse_weak(
        body.password, leaked=app[LEAKED], email=body.email, name=name, organization=body.organization_name
    )
    password_hash = await app[PASSWORDS].hash(body.password)
    session = await call.begin()
    user_id = await service.register(
        session, email=body.email, name=name, password_hash=password_hash, now=call.now
    )
    organization = await organizations.found(
        session,
        owner=user_id,
        name=body.organization_name,
        time_zone=body.time_zone,
        metadata={},
        now=call.now,
    )
    registered = RegisteredView(
        user=_user(await service.get(session, user_id)),
        organization=BelongingView(
            id=f"org_{organization.public_id}", name=organization.name, state="active", role=Role.OWNER
        ),
    )
    return Answer(registered, "Registered. A mail with a verification token is on its way; log in meanwhile.")


@endpoint(
    "POST", "/auth/login", "Log in",
    tag=TAG, access=Access.PUBLIC, body=LoginInput, data=TokenView, begins=False, effect=False, guarded=True,
    refusals=(problems.WRONG_CREDENTIALS, problems.NOT_FOUND, problems.BUSY),
)  # fmt: skip
async def login(call: Call[LoginInput, Nothing]) -> Answer[TokenView]:
    """Gives an access token for one organization. Unknown e-mails and wrong passwords are answered alike."""
    app, body = call.request.app, call.body
    async with app[DATABASE].transaction() as session:
        known = await service.credentials(session, body.email)
    kept = known.password_hash if known is not None else None
    if not await app[PASSWORDS].verify(kept, body.password) or known is None:
        raise Refusal(problems.WRONG_CREDENTIALS)
    async with app[DATABASE].transaction() as session:
        chosen = await _choose(session, known.user_id, body.organization_id)
    return Answer(_token(call, Principal(known.user_id, _carried(chosen)), chosen), "Logged in.")


@endpoint(
    "POST", "/auth/verify-email", "Verify an e-mail",
    tag=TAG, access=Access.PUBLIC, body=VerifyInput, data=UserView, guarded=True,
    refusals=(problems.VERIFICATION_INVALID,),
)  # fmt: skip
async def verify_email(call: Call[VerifyInput, Nothing]) -> Answer[UserView]:
    """Takes the token out of the mail; it is valid for 24 hours and once."""
    return Answer(
        _user(await service.verify_email(call.session, call.body.token, now=call.now)), "E-mail verified."
    )


@endpoint(
    "POST", "/auth/request-email-verification", "Send the verification mail again",
    tag=TAG, access=Access.PUBLIC, body=EmailInput, data=Empty, status=202, guarded=True,
)  # fmt: skip
async def request_email_verification(call: Call[EmailInput, Nothing]) -> Answer[Empty]:
    """Sends another mail, once a minute at most. The answer is the same whether or not anybody has this
    e-mail.
    """
    await service.request_verification(call.session, call.body.email)
    return Answer(Empty(), "If this e-mail awaits verification, a mail is on its way.")


@endpoint("GET", "/auth/me", "Who am I", tag=TAG, access=Access.USER, data=MeView)
async def me(call: Call[Nothing, Nothing]) -> Answer[MeView]:
    """Shows the user, the organization that the token carries, and every organization he belongs to."""
    user = await service.get(call.session, call.user_id)
    belongings = await organizations.of_user(call.session, call.user_id)
    carried = call.principal.organization_id if call.principal is not None else None
    current = next((belonging for belonging in belongings if belonging.organization_id == carried), None)
    view = MeView(
        user=_user(user),
        organization=belonging_view(current) if current else None,
        organizations=[belonging_view(belonging) for belonging in belongings],
    )
    return Answer(view, "This is you.")


@endpoint(
    "POST", "/auth/switch-organization", "Act in another organization",
    tag=TAG, access=Access.USER, body=SwitchInput, data=TokenView, effect=False, guarded=True,
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def switch_organization(call: Call[SwitchInput, Nothing]) -> Answer[TokenView]:
    """Gives a token that carries another of your organizations. The token you have stays as it is."""
    await service.get(call.session, call.user_id)
    chosen = await _choose(call.session, call.user_id, call.body.organization_id)
    return Answer(
        _token(call, Principal(call.user_id, _carried(chosen)), chosen),
        "This token acts in the other organization.",
    )


def _carried(chosen: Belonging | None) -> UUID | None:
    return chosen.organization_id if chosen is not None else None


async def _choose(session: AsyncSession, user_id: UUID, wanted: str | None) -> Belonging | None:
    belongings = await organizations.of_user(session, user_id)
    if wanted is None:
        return belongings[0] if belongings else None
    for belonging in belongings:
        if f"org_{belonging.public_id}" == wanted:
            return belonging
    raise Refusal(problems.NOT_FOUND)


def _token(call: Call[Any, Any], principal: Principal, belonging: Belonging | None) -> TokenView:
    token = call.request.app[TOKENS].issue(principal, now=call.now)
    return TokenView(
        access_token=token.text,
        token_type="Bearer",  # noqa: S106 - the name of a scheme, not a secret
        expires_at=token.expires_at,
        organization=belonging_view(belonging) if belonging else None,
    )


ENDPOINTS: Endpoints = (register, login, verify_email, request_email_verification, me, switch_organization)
