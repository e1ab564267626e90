"""The collector of garbage stands still while much is made, and goes on whatever comes."""

from __future__ import annotations

import gc

import pytest

from reconciler.collector import standing_still
from reconciler.model.circumstances import Asked
from tests.build import change, pin, seen, work


def test_it_goes_on_when_the_last_is_through() -> None:
    with standing_still():
        with standing_still():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.unfreeze()


def test_it_goes_on_after_an_error() -> None:
    with pytest.raises(ValueError, match="no"), standing_still():
        raise ValueError("no")
    assert gc.isenabled()
    gc.unfreeze()


def test_it_walks_through_nothing_of_which_there_is_one_for_each_pin() -> None:
    asked = work()
    here = seen(asked)["api"]
    values = (
        asked,
        asked.target,
        asked.release,
        pin(),
        change(None, asked),
        here,
        *here.instances,
        Asked("a" * 40),
    )
    for value in values:
        assert not gc.is_tracked(value), type(value)
