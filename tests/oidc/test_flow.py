"""The code flow by itself: how we show who we are, and what a provider may leave out or say besides."""

from __future__ import annotations

import urllib.parse
import urllib.request
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from reconciler.model.errors import TransientError
from reconciler.model.people import Person, Registration, says_enough
from reconciler.oidc import Invalid, Issuer, Issuers, end_at, exchanged, leave_for
from reconciler.oidc.tokens import Jwks, key_set
from tests.drivers.services import free_port
from tests.moved_clock import MovedClock
from tests.oidc.provider import CLIENT_ID, CLIENT_SECRET, Client, Provider, a_provider

BACK = "http://127.0.0.1:1/login/callback"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with a_provider(free_port(), BACK) as running:
        yield running


def issuer(provider: Provider, secret: str | None = CLIENT_SECRET) -> Issuer:
    at = Registration(provider.issuer, CLIENT_ID, CLIENT_ID, name_claim="sub", redirect_uri=BACK)
    return Issuer(at, MovedClock(), (lambda: secret) if secret else None)


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def code_from(url: str) -> tuple[str, str | None]:
    """What the provider sends the browser back with: the code, and who it says that it is."""
    try:
        urllib.request.build_opener(Stay).open(url, timeout=30)
    except urllib.error.HTTPError as error:
        with error:
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(error.headers["Location"]).query)
    return query["code"][0], query.get("iss", [None])[0]


async def signed_in(at: Issuer) -> Person:
    pending, url = await leave_for(at)
    return (await exchanged(at, pending, *code_from(url))).person


@pytest.mark.parametrize(
    ("methods", "secret"),
    [
        (("client_secret_basic",), CLIENT_SECRET),
        (("client_secret_post",), CLIENT_SECRET),
        (("client_secret_post", "client_secret_basic"), CLIENT_SECRET),
        (("none",), None),
    ],
)
async def test_we_show_who_we_are_as_the_provider_wants_it(
    provider: Provider, methods: tuple[str, ...], secret: str | None
) -> None:
    provider.client = Client(BACK, methods)
    assert (await signed_in(issuer(provider, secret))).name == "ada"


async def test_a_wrong_secret_is_ours_to_mend(provider: Provider) -> None:
    with pytest.raises(TransientError, match=r"answers 401 invalid_client; see to the provider"):
        await signed_in(issuer(provider, "guessed"))


async def test_the_verifier_is_needed(provider: Provider) -> None:
    at = issuer(provider)
    pending, url = await leave_for(at)
    code, _ = code_from(url)
    with pytest.raises(Invalid, match=r"does not take this code"):
        await exchanged(at, replace(pending, verifier="x" * 43), code, None)


async def test_a_provider_that_says_who_it_is_must_say_so(provider: Provider) -> None:
    provider.metadata = {"authorization_response_iss_parameter_supported": True}
    at = issuer(provider)
    pending, url = await leave_for(at)
    code, _ = code_from(url)
    for said in (None, "http://evil.example"):
        with pytest.raises(Invalid, match=r"of another provider"):
            await exchanged(at, pending, code, said)
    assert (await exchanged(at, pending, code, provider.issuer)).person.name == "ada"


async def test_where_nobody_can_sign_in_nobody_leaves(provider: Provider) -> None:
    provider.metadata = {"authorization_endpoint": None}
    with pytest.raises(TransientError, match=r"nobody can sign in at"):
        await leave_for(issuer(provider))


async def test_a_query_of_the_providers_own_is_kept(provider: Provider) -> None:
    provider.metadata = {"authorization_endpoint": f"{provider.issuer}/authorize?tenant=1"}
    _, url = await leave_for(issuer(provider))
    assert "/authorize?tenant=1&response_type=code" in url


async def test_what_answers_no_json_is_not_believed(provider: Provider) -> None:
    for path in ("/authorize", "/nowhere"):  # pages of HTML
        provider.metadata = {"token_endpoint": f"{provider.issuer}{path}"}
        with pytest.raises(TransientError):
            await signed_in(issuer(provider))


async def test_a_token_of_nobody_that_is_known_proves_nothing(provider: Provider) -> None:
    with pytest.raises(Invalid, match=r"not of a provider that is known here"):
        await Issuers().person(provider.token())
    assert not Issuers()
    somebody, _ = await Issuers(others=[issuer(provider)]).person(provider.token())
    assert somebody == Person(provider.issuer, "1")


def test_keys_that_cannot_be_read_are_left_out() -> None:
    assert (
        key_set(Jwks([{}, {"kty": "RSA"}, {"kty": "EC", "crv": "P-256", "x": "!", "y": 5}, {"kty": 1}]))
        is None
    )
    assert key_set(Jwks([{"kty": "oct", "k": "c2VjcmV0"}])) is None


def test_a_claim_may_stand_within_another() -> None:
    at = Registration("i", "c", "c", name_claim="sub", groups_claim="realm_access.roles")
    assert says_enough({"sub": "a", "realm_access": {"roles": []}}, at)
    assert says_enough({"sub": "a", "realm_access.roles": []}, at)
    assert not says_enough({"sub": "a", "realm_access": []}, at)


@pytest.mark.parametrize("endpoint", [None, "", "http://login.example/end", "javascript:alert(1)"])
async def test_a_session_at_the_provider_goes_on_where_nothing_safe_ends_it(
    provider: Provider, endpoint: str | None
) -> None:
    provider.metadata = {"end_session_endpoint": endpoint}
    assert await end_at(issuer(provider), "hint") is None


async def test_what_ends_a_session_says_no_more_than_is_known(provider: Provider) -> None:
    provider.metadata = {"end_session_endpoint": "https://login.example/end?realm=ops"}
    assert await end_at(issuer(provider), "") == f"https://login.example/end?realm=ops&client_id={CLIENT_ID}"
