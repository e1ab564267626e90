"""How far a daemon's database had come, kept on the remote: moved forward, never back."""

from __future__ import annotations

import pytest

from reconciler.git import Mirror, PushRejected
from tests.git.colleague import AT, Colleague
from tests.git.conftest import OpenMirror


def test_what_one_mirror_kept_another_finds(mirror: Mirror, open_mirror: OpenMirror, ada: Colleague) -> None:
    assert mirror.head_of("d1") is None
    mirror.keep_head("d1", "1 aa", at=AT)
    mirror.keep_head("d1", "2 bb", at=AT)
    mirror.keep_head("d1", "2 bb", at=AT)
    other = open_mirror("other")
    assert (other.head_of("d1"), other.head_of("d2")) == ("2 bb", None)
    ada.git("fetch", "--quiet", "origin", "+refs/ugs/state/d1:refs/seen")
    assert ada.git("rev-list", "--count", "refs/seen") == "2", "what is the same is not said again"


def test_an_older_state_does_not_take_the_place_of_a_newer_one(
    mirror: Mirror, open_mirror: OpenMirror
) -> None:
    other = open_mirror("other")
    mirror.keep_head("d1", "1 aa", at=AT)
    other.head_of("d1")
    mirror.keep_head("d1", "2 bb", at=AT)
    with pytest.raises(PushRejected):
        other.keep_head("d1", "1 ff", at=AT)
    assert other.head_of("d1") == "2 bb"
