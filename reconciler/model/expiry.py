"""When something that a person says comes to its end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from reconciler.model.document import seconds

AHEAD_MAX = timedelta(days=366)


def expiry(until: str | None, lasting: str | None, *, now: datetime) -> datetime | None:
    """When something ends: at `until`, or after `lasting` (`4h`); None where neither is given. In UTC.

    Raises ValueError, with a message for people: `what is wrong; what to do`.
    """
    if until is not None and lasting is not None:
        raise ValueError("both an end and a duration are given; give one of them")
    if lasting is not None:
        try:
            end = now + timedelta(seconds=seconds(lasting))
        except ValueError as error:
            raise ValueError(f"{lasting[:50]!r}: {error}; write for example 4h") from error
    elif until is not None:
        end = _instant(until)
    else:
        return None
    if end <= now:
        raise ValueError(f"{until or lasting} ends at once or is past; name a time that is yet to come")
    if end - now > AHEAD_MAX:
        raise ValueError(f"{until or lasting} is more than {AHEAD_MAX.days} days ahead; name an earlier time")
    return end.astimezone(UTC)


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise ValueError("no offset")
        return at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{text[:50]!r} is not a time with an offset; write for example 2026-11-03T18:00:00+01:00"
        ) from error
