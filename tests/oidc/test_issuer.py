"""Tokens of a provider: what one proves, what a hostile one does not; keys that change, a provider that is down."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey, RSAKey
from msgspec.structs import replace

from reconciler.model.errors import TransientError
from reconciler.model.people import Nameless, Registration
from reconciler.oidc import Invalid, Issuer
from reconciler.oidc.issuer import AGAIN_S, FRESH_S, KEPT_S, ROTATED_S, Document, Known
from reconciler.oidc.tokens import LEEWAY_S, TOKEN_BYTES_MAX, Jwks, key_set
from tests.drivers.services import free_port
from tests.moved_clock import MovedClock
from tests.oidc.provider import CLIENT_ID, Provider, a_provider, listening

DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with a_provider(free_port()) as running:
        yield running


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def issuer(provider: Provider, clock: MovedClock) -> Issuer:
    return Issuer(Registration(provider.issuer, CLIENT_ID, CLIENT_ID, name_claim="sub"), clock)


async def refused(issuer: Issuer, token: str) -> str:
    with pytest.raises(Invalid) as caught:
        await issuer.person(token)
    return str(caught.value)


async def test_a_token_says_who_it_is_and_until_when(provider: Provider, issuer: Issuer) -> None:
    somebody, until = await issuer.person(
        provider.token(sub="repo:org/fleet:ref:refs/heads/main", groups=["ci"])
    )
    assert somebody.name == "repo:org/fleet:ref:refs/heads/main"
    assert (somebody.issuer, somebody.groups) == (provider.issuer, ("ci",))
    assert timedelta(minutes=4) < until - issuer.clock.now() <= timedelta(minutes=5)
    await issuer.person(provider.token(aud=["another", CLIENT_ID]))
    assert provider.asked == [DISCOVERY, "/jwks"]  # once


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": "http://127.0.0.1:1"}, "not of the provider that is known here"),
        ({"iss": None}, "no JSON Web Token"),
        ({"aud": "another"}, "invalid_claim aud"),
        ({"aud": ["another"]}, "invalid_claim aud"),
        ({"aud": None}, "missing_claim aud"),
        ({"aud": {"ugs": True}}, "invalid_claim aud"),
        ({"exp": 1}, "expired_token"),
        ({"exp": None}, "missing_claim exp"),
        ({"exp": "tomorrow"}, "invalid_claim exp"),
        ({"exp": True}, "invalid_claim exp"),
        ({"nbf": 4_000_000_000}, "invalid_claim nbf"),
        ({"iat": 4_000_000_000}, "invalid_claim iat"),
        ({"sub": None}, "missing_claim sub"),
        ({"sub": 5}, "invalid_claim sub"),
        ({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}, "tells of an event"),
    ],
)
async def test_a_token_that_is_not_for_us_or_not_in_force_proves_nothing(
    provider: Provider, issuer: Issuer, claims: dict[str, Any], why: str
) -> None:
    assert why in await refused(issuer, provider.token(**claims))


async def test_clocks_may_differ_by_a_minute(provider: Provider, issuer: Issuer, clock: MovedClock) -> None:
    token = provider.token()
    clock.move(timedelta(seconds=300 + LEEWAY_S - 20))
    await issuer.person(token)
    clock.move(timedelta(seconds=40))
    assert "expired" in await refused(issuer, token)


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def claims_in(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


async def test_nobody_signs_with_what_everybody_knows(provider: Provider, issuer: Issuer) -> None:
    claims = claims_in(provider.token())
    rsa = RSAKey.generate_key(2048, {"kid": "rsa"})
    provider.keys.append(rsa)
    await issuer.person(provider.token(key=rsa))
    for header in ({"alg": "none"}, {"alg": "None"}, {"alg": ""}, {"alg": "none", "kid": "rsa"}):
        assert "not of the provider" in await refused(issuer, unsigned(header, claims))
    for public in (rsa.as_pem(private=False), rsa.as_der(private=False)):  # taken for a shared secret
        head = unsigned({"alg": "HS256", "kid": "rsa"}, claims).rpartition(".")[0]
        digest = hmac.new(public, head.encode(), hashlib.sha256).digest()
        assert "not of the provider" in await refused(
            issuer, f"{head}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
        )
    assert "not valid" in await refused(issuer, unsigned({"alg": "ES256", "kid": "first"}, claims))
    own = ECKey.generate_key("P-256", {"kid": "first"})  # the right number, another key
    assert "bad_signature" in await refused(issuer, provider.token(key=own))
    carried = {"jwk": own.as_dict(private=False), "kid": "first"}
    assert "bad_signature" in await refused(issuer, provider.token(key=own, header=carried))
    elsewhere = {"jku": f"{provider.issuer}/evil", "kid": "first"}
    assert "bad_signature" in await refused(issuer, provider.token(key=own, header=elsewhere))
    assert "not valid" in await refused(issuer, provider.token(header={"kid": "rsa"}))  # of another kind
    critical = {"alg": "ES256", "kid": "first", "crit": ["x"], "x": 1}
    assert "unsupported_header" in await refused(issuer, unsigned(critical, claims, b"x"))
    head, _, signature = provider.token().split(".")
    other = unsigned({}, claims | {"sub": "root"}).split(".")[1]
    assert "bad_signature" in await refused(issuer, f"{head}.{other}.{signature}")
    assert "/evil" not in provider.asked


@pytest.mark.parametrize(
    "token",
    [
        "",
        "..",
        "a.b.c",
        "a.b",
        "a.b.c.d",
        "\u00fc.\u00fc.\u00fc",
        "\ud800.b.c",
        "x" * TOKEN_BYTES_MAX + ".b.c",
        unsigned({"alg": ["ES256"]}, {}),
        unsigned({"alg": "ES256", "kid": 5}, {"iss": "x"}),
        f"{base64.urlsafe_b64encode(b'[' * 9_000).decode()}.e30.x",
        f"{unsigned({'alg': 'ES256'}, {}).split('.')[0]}.{base64.urlsafe_b64encode(b'[' * 9_000).decode()}.x",
    ],
)
async def test_what_is_no_token_is_told_so_and_costs_nothing(
    provider: Provider, issuer: Issuer, token: str
) -> None:
    assert "no JSON Web Token" in await refused(issuer, token)
    assert provider.asked == []


async def test_a_token_with_endless_nesting_proves_nothing(provider: Provider, issuer: Issuer) -> None:
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    for claims in ({"deep": deep}, {"groups": deep}, {"aud": deep}):
        token = provider.token(**claims)
        with contextlib.suppress(Invalid):
            assert (await issuer.person(token))[0].groups == ()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(alphabet="abcXYZ0189-_.=\u00fc ", max_size=60),
    st.integers(0, 400),
    st.sampled_from(["put", "cut", "flip"]),
)
def test_a_token_that_somebody_touched_proves_nothing(what: str, at: int, how: str) -> None:
    async def attempt() -> None:
        # Signed by a key that is known, without a provider that answers.
        clock, key = MovedClock(), ECKey.generate_key("P-256", {"kid": "first"})
        provider = Provider("http://127.0.0.1:1", None, [key])  # type: ignore[arg-type]
        issuer = Issuer(Registration(provider.issuer, CLIENT_ID, CLIENT_ID, name_claim="sub"), clock)
        keys = key_set(Jwks([dict(key.as_dict(private=False))]))
        issuer._known = Known(Document(provider.issuer, ""), keys, frozenset({"ES256"}))
        issuer._fetched_s = clock.monotonic()
        token = provider.token()
        assert (await issuer.person(token))[0].name == "1"
        here = at % (len(token) + 1)
        touched = {
            "put": token[:here] + what + token[here:],
            "cut": token[:here] + token[here + len(what) :],
            "flip": token[:here] + what + token[here + len(what) :],
        }[how]
        signed = touched.rpartition(".")[0]
        try:
            await issuer.person(touched)
        except Invalid:
            return
        # The last character of a signature has bits that say nothing.
        assert signed == token.rpartition(".")[0]

    asyncio.run(attempt())


async def test_a_new_key_is_fetched_and_a_guessed_one_not_twice(
    provider: Provider, issuer: Issuer, clock: MovedClock
) -> None:
    await issuer.person(provider.token())
    clock.move(timedelta(seconds=ROTATED_S + 1))
    provider.rotate("second")
    assert (await issuer.person(provider.token()))[0].name == "1"
    assert provider.asked.count("/jwks") == 2
    for number in range(20):
        stranger = ECKey.generate_key("P-256", {"kid": f"guess {number}"})
        assert "not valid" in await refused(issuer, provider.token(key=stranger))
    assert provider.asked.count("/jwks") == 2
    clock.move(timedelta(seconds=ROTATED_S + 1))
    await refused(issuer, provider.token(key=stranger))
    await refused(issuer, provider.token(key=stranger))
    assert provider.asked.count("/jwks") == 3


async def test_keys_count_on_while_the_provider_is_down_and_not_for_ever(
    provider: Provider, issuer: Issuer, clock: MovedClock
) -> None:
    await issuer.person(provider.token())
    provider.metadata = {"issuer": "http://another.example"}  # as good as down
    clock.move(timedelta(seconds=FRESH_S + 1))
    assert (await issuer.person(provider.token(exp=4_000_000_000)))[0].name == "1"
    assert issuer._renewing is not None
    await issuer._renewing
    assert provider.asked.count(DISCOVERY) == 2
    clock.move(timedelta(seconds=KEPT_S))
    with pytest.raises(TransientError, match=r"cannot be reached; try again in a moment"):
        await issuer.person(provider.token(exp=4_000_000_000))
    with pytest.raises(TransientError):
        await issuer.person(provider.token(exp=4_000_000_000))
    assert provider.asked.count(DISCOVERY) == 3  # it is left alone for a while
    provider.metadata = {}
    clock.move(timedelta(seconds=AGAIN_S + 1))
    assert (await issuer.person(provider.token(exp=4_000_000_000)))[0].name == "1"


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "http://evil.example"},
        {"jwks_uri": "http://evil.example/jwks"},
        {"jwks_uri": "/relative"},
        {"jwks_uri": None},
        {"jwks_uri": "http://127.0.0.1:1/jwks"},
        {"token_endpoint": "http://evil.example/token"},
        {"id_token_signing_alg_values_supported": ["HS256", "none"]},
        {"id_token_signing_alg_values_supported": "RS256"},
        {"more": "x" * 600_000},
    ],
)
async def test_a_provider_that_says_what_it_should_not_is_not_believed(
    provider: Provider, issuer: Issuer, metadata: dict[str, Any]
) -> None:
    provider.metadata = metadata
    with pytest.raises(TransientError):
        await issuer.person(provider.token())


async def test_a_provider_that_is_down_is_told_so(clock: MovedClock) -> None:
    with a_provider(free_port()) as gone:
        issuer = Issuer(Registration(gone.issuer, CLIENT_ID, CLIENT_ID, name_claim="sub"), clock)
        token = gone.token()
    with pytest.raises(TransientError, match=r"cannot be reached"):
        await issuer.person(token)
    with listening(gone):
        clock.move(timedelta(seconds=AGAIN_S + 1))
        assert (await issuer.person(token))[0].name == "1"


async def test_keys_of_other_kinds_are_left_alone(provider: Provider, issuer: Issuer) -> None:
    rsa = RSAKey.generate_key(2048, {"kid": "for secrets"})
    for_secrets = RSAKey.import_key(rsa.as_dict(private=True) | {"use": "enc"})
    provider.keys += [OKPKey.generate_key("Ed25519", {"kid": "ed"}), for_secrets]
    provider.metadata = {"id_token_signing_alg_values_supported": ["ES256", "EdDSA", "RS256"]}
    await issuer.person(provider.token(key=provider.keys[1], header={"alg": "EdDSA"}))
    assert "not valid" in await refused(issuer, provider.token(key=rsa))


async def test_an_address_counts_only_when_the_provider_has_looked_at_it(
    provider: Provider, issuer: Issuer
) -> None:
    issuer.at = replace(issuer.at, name_claim="email")
    somebody, _ = await issuer.person(provider.token(email="Ada@Example.org", email_verified=True))
    assert somebody.name == "ada@example.org"
    for claims in (
        {"email": "ada@example.org", "email_verified": False},
        {"email": "ada@example.org", "email_verified": "false"},
        {},
        {"email": ["ada@example.org"]},
        {"email": "ugs"},
        {"email": "x" * 101},
        {"email": "ada\n@example.org"},
    ):
        with pytest.raises(Nameless):
            await issuer.person(provider.token(**claims))
