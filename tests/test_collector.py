"""The collector of garbage stands still while much is made, and goes on whatever comes."""

from __future__ import annotations

import gc

import pytest

from reconciler.collector import standing_still


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
