"""What came after what, where several daemons have had one environment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.model.succession import Place, is_news

NOON = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def place(epoch: int, row: int = 0, minutes: int = 0) -> Place:
    return Place(epoch, row, NOON + timedelta(minutes=minutes))


def test_epochs_and_the_rows_under_one_of_them_order_what_happened_whatever_the_clocks_show() -> None:
    assert place(2, 1, -60).after(place(1, 900, 0))
    assert not place(1, 900, 0).after(place(2, 1, -60))
    assert place(2, 5, -60).after(place(2, 4, 0))
    assert not place(2, 5).after(place(2, 5, -1))


def test_dates_count_where_one_of_two_has_no_epoch() -> None:
    assert place(0, 0, 1).after(place(2, 1, 0))
    assert not place(0, 0, 0).after(place(2, 1, 0))


@pytest.mark.parametrize(
    ("said", "known", "known_to", "news"),
    [
        (place(3, 1, -60), place(2, 1, 0), 2, True),
        (place(2, 1, 60), place(2, 4, 0), 2, False),
        (place(2, 1, 60), place(0, 0, 0), 2, False),
        (place(3, 1, -60), place(0, 0, 0), 2, True),
        (place(0, 0, 1), place(0, 0, 0), 2, True),
        (place(0, 0, -1), place(0, 0, 0), 2, False),
        (place(3, 1, 1), place(0, 0, 0), None, True),
    ],
)
def test_what_is_remembered_without_an_epoch_is_as_new_as_the_last_that_was_read(
    said: Place, known: Place, known_to: int | None, news: bool
) -> None:
    assert is_news(said, known, known_to=known_to) is news
