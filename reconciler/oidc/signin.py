"""How people sign in, and out again: the authorization code flow with PKCE, and a nonce that binds the token to this
sign-in."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct

from reconciler.model.errors import TransientError
from reconciler.model.people import Person, person_of, says_enough
from reconciler.oidc.documents import SEE_TO_IT, Refused, get, post, safe
from reconciler.oidc.issuer import Document, Issuer
from reconciler.oidc.tokens import Claims, Invalid

ANEW = "sign in anew"


class Pending(Struct, frozen=True):
    """A sign-in that has begun; `verifier` is PKCE's."""

    state: str
    nonce: str
    verifier: str


class Answered(Struct, frozen=True):
    """What the token endpoint answers."""

    id_token: str
    access_token: str = ""


class SignedIn(Struct, frozen=True):
    """Who has signed in, and the token that says so: whoever shows that is him."""

    person: Person
    id_token: str


async def leave_for(issuer: Issuer) -> tuple[Pending, str]:
    """A new sign-in, and the URL at the provider to which the browser goes. Raises TransientError."""
    document = (await issuer.known()).document
    if not document.authorization_endpoint or not document.token_endpoint:
        raise TransientError(f"nobody can sign in at {issuer.at.issuer}", SEE_TO_IT)
    pending = Pending(*(secrets.token_urlsafe(32) for _ in range(3)))
    challenge = hashlib.sha256(pending.verifier.encode()).digest()
    query = {
        "response_type": "code",
        "client_id": issuer.at.client_id,
        "redirect_uri": issuer.at.redirect_uri or "",
        "scope": " ".join(issuer.at.scopes),
        "state": pending.state,
        "nonce": pending.nonce,
        "code_challenge": base64.urlsafe_b64encode(challenge).decode().rstrip("="),
        "code_challenge_method": "S256",
    }
    return pending, _with(document.authorization_endpoint, query)


async def end_at(issuer: Issuer, id_token: str) -> str | None:
    """The URL at the provider by which a session there ends; None where it has none. `id_token`: with which it began,
    empty where that is not known any more. Raises TransientError."""
    endpoint = (await issuer.known()).document.end_session_endpoint
    if not endpoint or not safe(endpoint):
        return None
    query = {
        "id_token_hint": id_token,
        "client_id": issuer.at.client_id,
        "post_logout_redirect_uri": issuer.at.post_logout_redirect_uri or "",
    }
    return _with(endpoint, {name: value for name, value in query.items() if value})


async def exchanged(issuer: Issuer, pending: Pending, code: str, said_issuer: str | None) -> SignedIn:
    """Who has signed in. `said_issuer`: the `iss` of the response, where it has one.

    Raises Invalid, Nameless; TransientError where the provider is not to be reached."""
    document = (await issuer.known()).document
    missing = said_issuer is None and document.authorization_response_iss_parameter_supported
    if missing or said_issuer not in (None, issuer.at.issuer):
        raise Invalid("this response is of another provider", ANEW)
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": issuer.at.redirect_uri or "",
        "code_verifier": pending.verifier,
    }
    more, headers = _credentials(issuer, document)
    endpoint = document.token_endpoint or ""  # where there is none, nobody left
    try:
        answered = await post(endpoint, Answered, form | more, headers)
    except Refused as error:
        if error.error == "invalid_grant":
            raise Invalid("the provider does not take this code (any more)", ANEW) from error
        raise
    claims = await issuer.claims(answered.id_token, issuer.at.client_id)
    _check(claims, pending, issuer.at.client_id)
    person = person_of(await _completed(issuer, document, claims, answered.access_token), issuer.at)
    return SignedIn(person, answered.id_token)


def _with(url: str, query: Mapping[str, str]) -> str:
    return url + ("&" if "?" in url else "?") + urlencode(query)


def _credentials(issuer: Issuer, document: Document) -> tuple[dict[str, str], dict[str, str]]:
    """How we show who we are: fields of the form, and headers. Raises HostError where the secret cannot be read."""
    name = issuer.at.client_id
    if issuer.secret is None:
        return {"client_id": name}, {}
    secret = issuer.secret()
    methods = document.token_endpoint_auth_methods_supported
    if "client_secret_basic" not in methods and "client_secret_post" in methods:
        return {"client_id": name, "client_secret": secret}, {}
    both = ":".join(
        quote(one, safe="") for one in (name, secret)
    ).encode()  # not `+`: some take it for itself
    return {}, {"Authorization": f"Basic {base64.b64encode(both).decode()}"}


def _check(claims: Claims, pending: Pending, client_id: str) -> None:
    """Raise Invalid unless the token belongs to this very sign-in, and to us."""
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not secrets.compare_digest(nonce.encode(), pending.nonce.encode()):
        raise Invalid("this token belongs to another sign-in", ANEW)
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", None if several else client_id) != client_id:
        raise Invalid("this token was made out to another party", ANEW)


async def _completed(
    issuer: Issuer, document: Document, claims: Claims, access_token: str
) -> Mapping[str, object]:
    """With what the provider tells beside the token, where name or groups are not in that."""
    if says_enough(claims, issuer.at) or not (document.userinfo_endpoint and access_token):
        return claims
    bearer = {"Authorization": f"Bearer {access_token}"}
    more = await get(document.userinfo_endpoint, dict[str, Any], bearer)
    if more.get("sub") != claims["sub"]:
        raise Invalid("the provider tells of somebody else", ANEW)
    return more | claims
