"""When what a person says ends: by an instant or after a duration, and never by a guess."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.model.expiry import expiry
from tests.build import NOW


@pytest.mark.parametrize(
    ("until", "lasting", "end"),
    [
        (None, None, None),
        (None, "4h", NOW + timedelta(hours=4)),
        (None, "500ms", NOW + timedelta(milliseconds=500)),
        (None, "366d", NOW + timedelta(days=366)),
        ("2026-11-03T18:00:00+01:00", None, datetime(2026, 11, 3, 17, tzinfo=UTC)),
        ("2026-11-03T18:00Z", None, datetime(2026, 11, 3, 18, tzinfo=UTC)),
    ],
)
def test_when_it_ends(until: str | None, lasting: str | None, end: datetime | None) -> None:
    assert expiry(until, lasting, now=NOW) == end


@pytest.mark.parametrize(
    ("until", "lasting", "words"),
    [
        ("2026-11-03T18:00Z", "4h", "both an end and a duration are given; give one of them"),
        ("2026-11-03T18:00", None, "'2026-11-03T18:00' is not a time with an offset; write for example"),
        ("2026-11-03", None, "is not a time with an offset"),
        ("tomorrow", None, "'tomorrow' is not a time with an offset"),
        ("", None, "'' is not a time with an offset"),
        ("9999-12-31T23:59:59-23:00", None, "is not a time with an offset"),
        ("2026-11-03T12:00:00Z", None, "2026-11-03T12:00:00Z ends at once or is past; name a time"),
        ("1970-01-01T00:00:00Z", None, "ends at once or is past"),
        ("2200-01-01T00:00:00Z", None, "is more than 366 days ahead; name an earlier time"),
        (None, "0", "'0': this is not a duration"),
        (None, "0s", "0s ends at once or is past"),
        (None, "4 hours", "'4 hours': this is not a duration such as 500ms, 30s, 5m, 4h or 7d; write for"),
        (None, "367d", "'367d': a duration is at most 366d; write for example 4h"),
        (None, "-1h", "'-1h': this is not a duration"),
    ],
)
def test_an_end_that_cannot_be_is_refused_with_what_to_write(
    until: str | None, lasting: str | None, words: str
) -> None:
    with pytest.raises(ValueError, match="; ") as caught:
        expiry(until, lasting, now=NOW)
    assert words in str(caught.value)
