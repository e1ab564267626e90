"""Trains of environments: how they run, and what is wrong with some."""

from __future__ import annotations

import pytest

from reconciler.model.environment import Environment, Policy, Promotion
from reconciler.model.errors import InputError
from reconciler.model.train import astray, upstream
from tests.build import environment


def after(name: str, before: str | None) -> Environment:
    return environment(name=name, policy=Policy(promote=Promotion(before) if before else None))


TRAIN = {"production": after("production", "staging"), "staging": after("staging", "dev")}


def test_the_nearest_comes_first_and_the_last_need_not_be_there() -> None:
    assert upstream("production", TRAIN) == ("staging", "dev")
    assert upstream("production", TRAIN | {"dev": after("dev", None)}) == ("staging", "dev")
    assert upstream("dev", TRAIN) == ()


def test_a_circle_and_what_is_too_long_are_refused() -> None:
    with pytest.raises(InputError, match="for ever: production from staging from dev from production"):
        upstream("production", TRAIN | {"dev": after("dev", "production")})
    long = {f"e{i}": after(f"e{i}", f"e{i + 1}") for i in range(99)}
    with pytest.raises(InputError, match="at most 20"):
        upstream("e0", long)


def test_what_comes_from_nowhere_or_in_a_circle_is_told_with_its_place() -> None:
    paths = {"environments/production.yaml", "environments/staging/environment.yaml"}
    [lost] = astray(TRAIN, {"production", "staging"}, paths)
    assert str(lost) == (
        "environments/staging/environment.yaml:1:1: policy.promote.from: there is no environment dev, so nothing "
        "can come here; name another one: there are production"
    )
    assert list(astray(TRAIN, {"production", "staging", "dev"}, paths)) == []
    own = {"dev": after("dev", "dev")}
    [circle] = astray(own, {"dev"}, {"environments/dev.yaml"})
    assert "dev from dev" in circle.message
    assert circle.place.file == "environments/dev.yaml"
