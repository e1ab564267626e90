"""People, and machines, that an OpenID provider vouches for: who they are by their claims, and what they may do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from msgspec import Struct

from reconciler.model.errors import UgsError
from reconciler.model.permits import BREAKER
from reconciler.model.persons import person
from reconciler.model.rights import RoleGrant

NAME_CHARS_MAX = 100
GROUPS_MAX = 200
GROUP_CHARS_MAX = 200
EMAIL = "email"
LEAVE, CALLBACK, END = "/login/oidc", "/login/callback", "/login/end"
"""The routes by which people leave for their provider, come back from it, and end their session there."""


class Registration(Struct, frozen=True):
    """What we are to a provider, and where it says who somebody is. `audience`: whom tokens that are shown are for.

    `redirect_uri`: where people come back to who signed in; None: nobody signs in, and tokens alone are looked at.
    `post_logout_redirect_uri`: where they come back to who signed out there; None: they stay at the provider.
    """

    issuer: str
    client_id: str
    audience: str
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    name_claim: str = EMAIL
    groups_claim: str = "groups"
    redirect_uri: str | None = None
    post_logout_redirect_uri: str | None = None


class Assignment(Struct, frozen=True):
    """A role for the members of a group, or for those whose name fits a pattern (`*` and `?`), as this provider knows
    them: what another calls by the same name is somebody else."""

    issuer: str
    grant: RoleGrant
    group: str | None = None
    user: str | None = None


class Person(Struct, frozen=True):
    """Somebody as his provider knows him. An address is in lower case."""

    issuer: str
    name: str
    groups: tuple[str, ...] = ()


class Nameless(UgsError):
    """Nothing that a provider says of somebody is a name to call him by."""


def person_of(claims: Mapping[str, object], at: Registration) -> Person:
    """Who it is. Raises Nameless."""
    name = _claim(claims, at.name_claim)
    if not isinstance(name, str) or not name.strip():
        raise Nameless(
            f"the provider does not say his `{at.name_claim}`",
            "have it say that (scopes, mappers), or name another claim as `oidc.name_claim` in ugs.yaml",
        )
    name = name.strip()
    if len(name) > NAME_CHARS_MAX or not name.isprintable() or person(name) == BREAKER:
        raise Nameless(
            f"his `{at.name_claim}` is no name", f"it has at most {NAME_CHARS_MAX} printable characters"
        )
    if at.name_claim == EMAIL:
        # Some say it as text. An address that nobody has looked at may be anybody's.
        if claims.get("email_verified", True) in (False, "false"):
            raise Nameless("his address is not verified", "have the provider verify it")
        name = name.lower()
    return Person(at.issuer, name, _groups(_claim(claims, at.groups_claim)))


def says_enough(claims: Mapping[str, object], at: Registration) -> bool:
    """Whether both the name and the groups are among the claims, so that nobody else need be asked."""
    return all(_claim(claims, name) is not None for name in (at.name_claim, at.groups_claim))


def grants_of(rules: Iterable[Assignment], somebody: Person) -> tuple[RoleGrant, ...]:
    """All that a person may do."""
    return tuple(rule.grant for rule in rules if _meant(rule, somebody))


def _meant(rule: Assignment, somebody: Person) -> bool:
    if rule.issuer != somebody.issuer:
        return False
    if rule.group is not None:
        return rule.group in somebody.groups
    return rule.user is not None and fnmatchcase(somebody.name, rule.user)


def _claim(claims: Mapping[str, object], name: str) -> object:
    """A claim by its name, else by a path of names with dots (`realm_access.roles`)."""
    if name in claims:
        return claims[name]
    found: object = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _groups(said: object) -> tuple[str, ...]:
    listed = [said] if isinstance(said, str) else said if isinstance(said, list) else []
    groups = [one for one in listed if isinstance(one, str) and 0 < len(one) <= GROUP_CHARS_MAX]
    return tuple(groups[:GROUPS_MAX])
