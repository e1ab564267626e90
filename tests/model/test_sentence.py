"""The one sentence that the log, the status and Slack show."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reconciler.model import sentence
from reconciler.model.circumstances import Gate
from reconciler.model.upgrade import Companion, Phase
from tests.build import change, upgrade, work

OLD, NEW = work("1.0.0"), work("1.1.0")
OTHER = work("1.0.0", instances=2)


def test_every_phase_has_its_words() -> None:
    assert sentence.DOING.keys() == set(Phase)


def test_a_step_names_versions_and_digests_only_where_the_version_stays() -> None:
    assert sentence.step(OLD.target, NEW.target) == "1.0.0 → 1.1.0"
    assert sentence.step(None, NEW.target) == "1.1.0 (first)"
    assert sentence.step(OLD.target, None) == "1.0.0 → nothing"
    assert sentence.step(None, None) == "nothing (first)"
    assert sentence.step(OLD.target, OTHER.target) == f"{OLD.target} → {OTHER.target}"


def test_an_upgrade_keeps_its_title_and_says_what_it_is_at_and_why() -> None:
    under_way = upgrade(OLD, NEW, phase=Phase.VERIFYING)
    failed = upgrade(OLD, NEW, phase=Phase.REVERTED, reason="tcp: refused")
    assert sentence.title(under_way) == sentence.title(failed) == "production: api 1.0.0 → 1.1.0"
    assert sentence.of_move(under_way) == "production: api 1.0.0 → 1.1.0 is being verified"
    assert sentence.of_move(failed).endswith("failed, was taken back, and its pin is reverted: tcp: refused")
    assert sentence.title(upgrade(None, NEW)) == "production: api 1.1.0 (first)"


def test_a_change_says_every_reason_to_wait_or_that_it_starts() -> None:
    gates = (
        Gate("window", open=False, reason="it is Tuesday"),
        Gate("host", open=True, reason="never shown"),
    )
    assert sentence.of_change(change(OLD, NEW), gates) == "production: api 1.0.0 → 1.1.0 waits: it is Tuesday"
    assert sentence.of_change(change(OLD, NEW), gates[1:]) == "production: api 1.0.0 → 1.1.0 starts now"
    assert sentence.of_change(change(None, NEW), ()) == "production: api 1.1.0 (first) starts now"


def test_a_change_that_only_has_to_be_proven_starts_from_last_good() -> None:
    unproven = change(OLD, NEW, running=NEW.target)
    assert sentence.of_change(unproven, ()) == "production: api 1.0.0 → 1.1.0 starts now"


@pytest.mark.parametrize(
    ("running", "pinned", "health", "said"),
    [
        (OLD, OLD, "healthy", "1.0.0 runs as pinned and is healthy"),
        (OLD, OLD, "unknown", "1.0.0 runs as pinned"),
        (OLD, NEW, "healthy", "1.0.0 runs, and 1.1.0 is pinned"),
        (OLD, None, "unknown", "1.0.0 is no longer pinned; policy.prune is off, so it runs on"),
    ],
)
def test_what_is_at_rest(running: object, pinned: object, health: object, said: str) -> None:
    targets = (getattr(running, "target", None), getattr(pinned, "target", None))
    assert sentence.of_rest("production", "api", *targets, health, prune=False) == f"production: api {said}"  # type: ignore[arg-type]  # one of the literals


def test_what_does_not_run() -> None:
    said = sentence.of_rest("production", "api", None, OLD.target, "unknown", prune=False)
    assert said == "production: api does not run and is being started again (1.0.0)"
    assert (
        sentence.of_rest("production", "api", None, None, "unknown", prune=True)
        == "production: api does not run"
    )


def test_what_goes_back_without_a_fault_of_its_own_did_not_fail() -> None:
    taken = upgrade(OLD, NEW, phase=Phase.REVERTED, taken_with="0123", reason="it needs db 2.x")
    assert sentence.of_move(taken).endswith(" was taken back, and its pin is reverted: it needs db 2.x")
    itself = replace(taken, failed=True)
    assert " failed, was taken back, and its pin is reverted" in sentence.of_move(itself)


def test_who_goes_back_with_it_is_named_and_a_crowd_is_counted() -> None:
    def with_it(count: int) -> str:
        companions = tuple(
            Companion(f"s{n}", "", None, NEW.target, None, "it needs it") for n in range(count)
        )
        return sentence.of_move(upgrade(OLD, NEW, phase=Phase.RESTORING, companions=companions))

    assert with_it(0).endswith(" is being taken back")
    assert with_it(1).endswith("; with it goes back s0 1.1.0")
    assert with_it(2).endswith("; with it go back s0 1.1.0, s1 1.1.0")
    assert with_it(12).endswith("s9 1.1.0 and 2 more")
