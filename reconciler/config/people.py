"""Who signs in where, and what he may do: what ugs.yaml says under `oidc`, `machines` and `people`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from reconciler.config.secret import Secret
from reconciler.config.settings import Oidc
from reconciler.model.codec import convert
from reconciler.model.findings import Findings
from reconciler.model.people import CALLBACK, EMAIL, Assignment, Registration
from reconciler.model.rights import RoleGrant

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
GRANTED = ("role", "environments", "services")

Reference = Callable[[dict[str, Any]], Secret]


def oidc_of(data: Mapping[str, Any], found: Findings, reference: Reference) -> Oidc | None:
    """The provider. `data`, the whole file, fits the schema; what else is wrong is added to `found`."""
    if "oidc" not in data:
        return None
    written = dict(data["oidc"])
    if "listen" not in data:
        message = "nobody could sign in: the daemon listens nowhere"
        found.add(("oidc",), message, "add `listen`, for example 127.0.0.1:8475")
    found.valid(("oidc", "issuer"), _check_url)
    if "redirect_uri" in written:
        found.valid(("oidc", "redirect_uri"), _check_redirect)
    if "post_logout_redirect_uri" in written:
        found.valid(("oidc", "post_logout_redirect_uri"), _check_url)
    secret = written.pop("client_secret", None)
    written.setdefault("audience", written["client_id"])
    if "scopes" in written and "openid" not in written["scopes"]:
        found.add(("oidc", "scopes"), "the scope openid is missing", "add it: nobody is told of without it")
    return Oidc(convert(written, Registration), reference(secret) if secret else None)


def machines_of(data: Mapping[str, Any], found: Findings) -> tuple[Registration, ...]:
    """The providers whose tokens alone are taken."""
    taken = {data["oidc"]["issuer"]} if "oidc" in data else set()
    machines = []
    for number, written in enumerate(data.get("machines", ())):
        at = ("machines", number, "issuer")
        found.valid(at, _check_url)
        if written["issuer"] in taken:
            found.add(at, "this issuer is named already", "name each once")
        taken.add(written["issuer"])
        machines.append(convert({"client_id": "", "name_claim": "sub"} | written, Registration))
    if machines and "listen" not in data:
        message = "none of them could come in: the daemon listens nowhere"
        found.add(("machines",), message, "add `listen`, for example 127.0.0.1:8475")
    return tuple(machines)


def people_of(
    data: Mapping[str, Any], oidc: Oidc | None, machines: Iterable[Registration], found: Findings
) -> tuple[Assignment, ...]:
    """Who may do what, in the order of the file. `data` is the whole of it."""
    known = {at.issuer: at for at in (*([oidc.at] if oidc else []), *machines)}
    people = []
    for number, written in enumerate(data.get("people", ())):
        if ("group" in written) == ("user" in written):
            found.add(("people", number), "a role is for a group or for a user", "write one of the two")
        at = known.get(written.get("issuer", oidc.at.issuer if oidc else ""))
        if at is None:
            message = "nobody vouches for these people: no provider of this name is known"
            found.add(
                ("people", number),
                message,
                "name one under `oidc` or `machines`; tokens have roles of their own",
            )
            continue
        user = written.get("user")
        user = user.lower() if user and at.name_claim == EMAIL else user
        grant = convert({key: written[key] for key in GRANTED if key in written}, RoleGrant)
        people.append(Assignment(at.issuer, grant, written.get("group"), user))
    return tuple(people)


def _check_url(url: str) -> None:
    """Raise ValueError for what could be read or changed on its way, or is no issuer."""
    parts = urlsplit(url)
    if parts.query or parts.fragment or parts.username:
        raise ValueError("this URL has a user, a query or a fragment; write it without")
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise ValueError("this is reached by https alone; write https://…")


def _check_redirect(url: str) -> None:
    _check_url(url)
    if not urlsplit(url).path.endswith(CALLBACK):
        raise ValueError(f"people come back to {CALLBACK}; write for example https://ugs.example{CALLBACK}")
