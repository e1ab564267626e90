"""What must not be said is masked in every spelling."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.redaction import LENGTH_MIN, MASK, redacted

SPELLINGS: tuple[Callable[[str], str], ...] = (str, json.dumps, lambda secret: quote(secret, safe=""), repr)


def test_a_secret_is_masked_wherever_it_stands() -> None:
    assert redacted("no login with hunter2 (hunter2)", ["hunter2"]) == f"no login with {MASK} ({MASK})"


def test_a_secret_that_holds_another_goes_whole() -> None:
    assert redacted("postgres://ugs:hunter2@db", ["hunter2", "postgres://ugs:hunter2@db"]) == MASK


def test_what_is_too_short_to_be_a_secret_stays() -> None:
    assert redacted("status 500", ["5", ""]) == "status 500"


@given(st.text(min_size=LENGTH_MIN), st.sampled_from(range(len(SPELLINGS))))
def test_no_spelling_gets_through(secret: str, spelling: int) -> None:
    said = SPELLINGS[spelling](secret)
    assert secret not in redacted(f"<< {said} >>", [secret]) or secret in MASK or secret in "<<  >>"
