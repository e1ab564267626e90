"""Who may do what, and where."""

from __future__ import annotations

from typing import get_args

import pytest

from reconciler.model.rights import (
    EVERYTHING,
    RIGHTS,
    Caller,
    Place,
    Right,
    Role,
    RoleGrant,
    beyond,
    may,
    may_somewhere,
    sees_part_of,
)

PRODUCTION = Place("production")
API = Place("production", "api")
ROLES: tuple[Role, ...] = get_args(Role)


def caller(*grants: RoleGrant) -> Caller:
    return Caller("ada", grants)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_its_rights_and_no_others(role: Role) -> None:
    someone = caller(RoleGrant(role))
    allowed = {right for right in get_args(Right) if may(someone, right, API)}
    assert allowed == RIGHTS[role]


def test_neither_an_operator_approves_nor_an_approver_operates() -> None:
    assert not may(caller(RoleGrant("operator")), "approve", API)
    assert not may(caller(RoleGrant("approver")), "operate", API)


def test_a_grant_for_one_service_is_none_for_its_environment() -> None:
    someone = caller(RoleGrant("operator", ("production",), ("api",)))
    assert may(someone, "operate", API)
    assert not may(someone, "operate", Place("production", "web"))
    assert not may(someone, "operate", PRODUCTION)
    assert not may(someone, "operate", EVERYTHING)
    assert sees_part_of(someone, PRODUCTION)
    assert sees_part_of(someone, EVERYTHING)
    assert not sees_part_of(someone, Place("staging"))
    assert may_somewhere(someone, "operate")


def test_a_whole_environment_takes_one_grant_and_not_the_sum_of_several() -> None:
    someone = caller(RoleGrant("operator", ("production",), ("api",)), RoleGrant("operator", ("staging",)))
    assert not may(someone, "operate", PRODUCTION)
    assert may(someone, "operate", Place("staging"))


def test_patterns_fit_names_by_case() -> None:
    someone = caller(RoleGrant("viewer", ("prod-*",)))
    assert may(someone, "see", Place("prod-eu", "api"))
    assert not may(someone, "see", Place("Prod-eu", "api"))
    assert not may(someone, "see", Place("prod", "api"))


def test_without_grants_nothing_is_seen() -> None:
    assert not sees_part_of(caller(), EVERYTHING)
    assert not may_somewhere(caller(), "see")


def test_nobody_gives_what_he_has_not() -> None:
    someone = caller(RoleGrant("admin", ("staging",)), RoleGrant("viewer"))
    fine = [RoleGrant("operator", ("staging",), ("api",)), RoleGrant("viewer", ("production",))]
    too_much = [RoleGrant("operator"), RoleGrant("admin", ("staging", "production"))]
    assert beyond(fine, someone) == []
    assert beyond([*fine, *too_much], someone) == too_much
