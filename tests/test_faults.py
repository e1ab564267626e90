"""The page on reliability says what the tests do."""

from __future__ import annotations

from tests.faults import PAGE, catalogue, injected, page, simulated


def test_every_fault_is_injected_or_says_why_not() -> None:
    known, covered = catalogue().faults, injected().keys() | simulated().keys()
    assert covered <= {fault.id for fault in known}
    assert {fault.area for fault in known} == catalogue().areas.keys()
    unexplained = [fault.id for fault in known if bool(fault.uncovered) == (fault.id in covered)]
    assert unexplained == [], "these need either a test or a reason"


def test_the_page_is_as_the_marks_are() -> None:
    text = PAGE.read_text()
    assert text == page(text), "say `make faults`"
