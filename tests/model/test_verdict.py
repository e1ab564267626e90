from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.observation import Sample
from reconciler.model.observation import Verdict as SampleVerdict
from reconciler.model.release import Health, Probe
from reconciler.model.verdict import EVIDENCE_MAX, Judgement, Outcome, Series, begin, judge, step

BEGAN = datetime(2026, 11, 5, 12, tzinfo=UTC)
PORT = Probe(tcp="127.0.0.1:{port}", failures=3)
PORT_NAME = "tcp 127.0.0.1:{port}"
HEALTH = Health(soak_s=10.0, deadline_s=60.0, probes=(PORT,))
ONE = frozenset({(0, PORT_NAME)})
TWO = frozenset({(0, PORT_NAME), (0, "process")})

# What a probe said: H healthy, F answered wrongly, S silence, U unknown.
KINDS: dict[str, tuple[SampleVerdict, bool, str]] = {
    "H": ("healthy", False, "fine"),
    "F": ("failed", False, "answers status 500, expected 200"),
    "S": ("failed", True, "connection refused"),
    "U": ("unknown", False, "api.example does not resolve"),
}


def after(elapsed_s: float) -> datetime:
    return BEGAN + timedelta(seconds=elapsed_s)


def outcome(kind: str, elapsed_s: float, *, probe: str = PORT_NAME, instance: int = 0) -> Outcome:
    verdict, silent, detail = KINDS[kind]
    return Outcome(instance, Sample(probe, verdict, after(elapsed_s), detail), silent)


def fed(
    outcomes: Iterable[Outcome], *, health: Health = HEALTH, expected: frozenset[tuple[int, str]] = ONE
) -> Series:
    series = begin(health, BEGAN, expected)
    for each in outcomes:
        series = step(series, each)
    return series


def said(text: str, *, health: Health = HEALTH) -> Series:
    """One probe's words, one a second from the first second on; a space is a second without any."""
    return fed([outcome(kind, index) for index, kind in enumerate(text, 1) if kind != " "], health=health)


# What each row shows, what the probe said, when it is judged, and the verdict (None: go on).
CASES: list[tuple[str, str, float, SampleVerdict | None]] = [
    ("nothing said yet", "", 5, None),
    ("healthy but the soak has just begun", "H", 1, None),
    ("healthy through the soak and at its end", "HHHHHHHHHHH", 11, "healthy"),
    ("one sample short of the soak's end", "HHHHHHHHHH", 11, None),
    ("a failure restarts the soak", "HHHHHHFHHHHHH", 13, None),
    ("unknown restarts the soak", "HHHHHHUHHHHHH", 13, None),
    ("healthy a soak after the failure", "HHHHHHFHHHHHHHHHHH", 18, "healthy"),
    ("silence while it starts does not count", "SSSSSSSSSS", 10, None),
    ("healthy after long silence", "SSSSSSSSSSHHHHHHHHHHH", 21, "healthy"),
    ("wrong answers count from the first", "FFF", 3, "failed"),
    ("two wrong answers are not three", "FF", 2, None),
    ("a healthy sample starts the count anew", "FFHFF", 5, None),
    ("silence between wrong answers resets nothing", "FSFSF", 5, "failed"),
    ("unknown between wrong answers resets nothing", "FUFUF", 5, "failed"),
    ("unknown counts for nothing", "UUUUUUUU", 8, None),
    ("after it was healthy silence counts", "HSSS", 4, "failed"),
    ("after it was healthy all failures count together", "HSFS", 4, "failed"),
    ("silence before health is not counted after it", "SSHS", 4, None),
    ("silence until the deadline is evidence", "S" * 59, 60, "failed"),
    ("silence a second before the deadline", "S" * 59, 59.9, None),
    ("one wrong answer standing at the deadline", " " * 57 + "HF", 60, "failed"),
    ("silence, then unknown, at the deadline", "S" * 30 + "U" * 29, 60, "failed"),
    ("unknown alone extends the deadline", "U" * 59, 60, None),
    ("unknown alone extends the deadline once", "U" * 119, 120, "unknown"),
    ("nothing said at all extends it once too", "", 119, None),
    ("nothing said at all ends as unknown", "", 120, "unknown"),
    ("healthy in the extension", "U" * 80 + "H" * 11, 91, "healthy"),
    ("failing in the extension needs the full count", "U" * 70 + "FF", 72, None),
    ("failing in the extension", "U" * 70 + "FFF", 73, "failed"),
    ("silent at the end of the extension", "U" * 70 + "S" * 49, 120, "failed"),
    ("early silence, health, then unknown: unknown alone", "SSH" + "U" * 56, 60, None),
    ("the soak may end after the deadline", "S" * 54 + "H" * 11, 65, "healthy"),
    ("a failure after the deadline breaks the soak for good", "S" * 54 + "H" * 8 + "F", 63, "failed"),
    ("unknown after the deadline is no evidence", "S" * 54 + "H" * 8 + "U", 63, None),
    (
        "unknown after the deadline, then healthy for a soak",
        "S" * 54 + "H" * 8 + "U" + "H" * 11,
        74,
        "healthy",
    ),
    ("healthy only after the deadline is too late", "S" * 60 + "H" * 11, 71, "failed"),
    ("what was not healthy long enough when probing stopped", "H", 70, None),
    ("nobody probes any more", "H", 71, "unknown"),
]


@pytest.mark.fault("RT-02", "RT-03")
@pytest.mark.parametrize(("text", "elapsed_s", "verdict"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_the_verdict_on_one_probe(text: str, elapsed_s: float, verdict: SampleVerdict | None) -> None:
    assert judge(said(text), after(elapsed_s)).verdict == verdict


def test_a_verdict_that_expects_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one probe"):
        begin(HEALTH, BEGAN, frozenset())


def test_every_probe_of_every_instance_must_be_healthy() -> None:
    expected = frozenset({(0, PORT_NAME), (1, PORT_NAME)})
    first = [outcome("H", second) for second in range(1, 30)]
    assert judge(fed(first, expected=expected), after(30)).verdict is None
    both = [o for second in range(1, 30) for o in (outcome("H", second), outcome("H", second, instance=1))]
    found = judge(fed(both, expected=expected), after(30))
    assert (found.verdict, found.sentence) == ("healthy", "healthy for 10 s: 1 probe, 2 instances")


def test_the_soak_runs_from_the_last_probe_to_become_healthy() -> None:
    early = [outcome("H", second, probe="process") for second in range(1, 16)]
    late = [outcome("H", second) for second in range(5, 16)]
    outcomes = sorted([*early, *late], key=lambda each: each.sample.at)
    assert judge(fed(outcomes[:-1], expected=TWO), after(15)).verdict is None
    assert judge(fed(outcomes, expected=TWO), after(15)).verdict == "healthy"


def test_without_a_soak_all_must_be_healthy_at_once() -> None:
    health = Health(soak_s=0.0, deadline_s=60.0, probes=(PORT,))
    series = fed([outcome("H", 1), outcome("H", 2, probe="process")], health=health, expected=TWO)
    assert judge(series, after(2)).verdict is None
    assert judge(step(series, outcome("H", 2)), after(2)).verdict == "healthy"


def test_one_failing_probe_fails_all() -> None:
    good = [outcome("H", second) for second in range(1, 10)]
    crashed = [outcome("F", second + 0.5, probe="process") for second in range(1, 4)]
    outcomes = sorted([*good, *crashed], key=lambda each: each.sample.at)
    found = judge(fed(outcomes, expected=TWO), after(10))
    assert found.verdict == "failed"
    assert found.sentence == "process failed 3 times in a row: answers status 500, expected 200"
    assert [sample.probe for sample in found.evidence] == ["process"] * 3


def test_a_probe_that_nobody_expects_changes_nothing() -> None:
    assert fed([outcome("F", second, probe="other") for second in range(1, 9)]).tracks == {}


def test_evidence_is_the_last_failures_only() -> None:
    found = judge(said("S" * 59), after(60))
    assert [sample.at for sample in found.evidence] == [
        after(60 - back) for back in range(EVIDENCE_MAX, 0, -1)
    ]
    assert found.sentence == f"{PORT_NAME} did not prove healthy within 60 s: connection refused"


def test_a_verdict_stands_whatever_comes_after_it() -> None:
    failed = said("FFF")
    assert judge(fed([outcome("F", s) for s in (1, 2, 3)] + [outcome("H", 4)]), after(5)).verdict == "failed"
    assert step(step(failed, outcome("H", 4)), outcome("H", 5)).tracks == failed.tracks


@pytest.mark.parametrize(
    ("text", "elapsed_s", "sentence", "next_s"),
    [
        ("", 1, f"not healthy yet: {PORT_NAME}: not probed yet", 60),
        ("S", 1, f"not healthy yet: {PORT_NAME}: connection refused", 60),
        ("U" * 60, 61, f"not healthy yet: {PORT_NAME}: api.example does not resolve", 120),
        ("HHHH", 4, "healthy, soaking: 3 s of 10 s", 11),
        ("HHHH", 12, "healthy, soaking: 10 s of 10 s", 71),
    ],
)
def test_on_the_way_it_says_how_it_stands_and_when_to_ask_again(
    text: str, elapsed_s: float, sentence: str, next_s: float
) -> None:
    assert judge(said(text), after(elapsed_s)) == Judgement(None, sentence, next_at=after(next_s))


@pytest.mark.parametrize(
    ("text", "elapsed_s", "sentence"),
    [
        ("U", 120, f"nothing could be proved within 120 s: {PORT_NAME}: api.example does not resolve"),
        ("H", 71, "healthy when last probed, but not probed since the soak of 10 s ended"),
    ],
)
def test_unknown_says_what_was_missing(text: str, elapsed_s: float, sentence: str) -> None:
    assert judge(said(text), after(elapsed_s)) == Judgement("unknown", sentence)


def test_with_several_instances_the_sentence_names_the_one() -> None:
    expected = frozenset({(0, PORT_NAME), (1, PORT_NAME)})
    series = fed([outcome("F", second, instance=1) for second in (1, 2, 3)], expected=expected)
    assert judge(series, after(3)).sentence.startswith(f"instance 1: {PORT_NAME} failed 3 times in a row")


# Histories of two probes: (kind, probe, seconds since the one before).
HISTORIES = st.lists(
    st.tuples(
        st.sampled_from("HHHHFSU"), st.sampled_from([PORT_NAME, "process"]), st.sampled_from([0, 1, 1, 4, 9])
    ),
    max_size=60,
)
BRIEF = Health(soak_s=6.0, deadline_s=25.0, probes=(PORT,))


def history(steps: Sequence[tuple[str, str, int]]) -> list[Outcome]:
    """Outcomes in time order, at most one an instant from each probe."""
    found: dict[tuple[int, str], Outcome] = {}
    elapsed_s = 0
    for kind, probe, pause_s in steps:
        elapsed_s += pause_s
        found[elapsed_s, probe] = outcome(kind, elapsed_s, probe=probe)
    return list(found.values())


def first_verdict(outcomes: Sequence[Outcome]) -> tuple[Judgement, int]:
    """The first verdict, asked after each instant as the engine does, and how many outcomes led to it."""
    series = begin(BRIEF, BEGAN, TWO)
    for count, each in enumerate(outcomes, 1):
        series = step(series, each)
        last_of_instant = count == len(outcomes) or outcomes[count].sample.at > each.sample.at
        found = judge(series, each.sample.at)
        if found.verdict and last_of_instant:
            return found, count
    return judge(series, after(10_000)), len(outcomes)


@given(HISTORIES)
def test_failed_needs_a_failed_sample_and_healthy_has_none_last(steps: list[tuple[str, str, int]]) -> None:
    outcomes = history(steps)
    found, count = first_verdict(outcomes)
    seen = outcomes[:count]
    if found.verdict == "failed":
        assert found.evidence
        assert {sample.verdict for sample in found.evidence} == {"failed"}
        assert {id(sample) for sample in found.evidence} <= {id(each.sample) for each in seen}
    if found.verdict == "healthy":
        for probe in (PORT_NAME, "process"):
            own = [each.sample for each in seen if each.sample.probe == probe]
            soaked = [sample for sample in own if own[-1].at - sample.at <= timedelta(seconds=BRIEF.soak_s)]
            assert {sample.verdict for sample in soaked} == {"healthy"}


@given(HISTORIES)
def test_a_verdict_once_given_stays(steps: list[tuple[str, str, int]]) -> None:
    series, given_verdict = begin(BRIEF, BEGAN, TWO), None
    outcomes = history(steps)
    for count, each in enumerate(outcomes, 1):
        series = step(series, each)
        if count < len(outcomes) and outcomes[count].sample.at == each.sample.at:
            continue
        verdict = judge(series, each.sample.at).verdict
        assert given_verdict in (None, verdict)
        given_verdict = verdict
    assert judge(series, after(10_000)).verdict is not None


@given(HISTORIES)
def test_the_order_within_one_instant_does_not_matter(steps: list[tuple[str, str, int]]) -> None:
    outcomes = history(steps)
    one = sorted(outcomes, key=lambda each: (each.sample.at, each.sample.probe == PORT_NAME))
    other = sorted(outcomes, key=lambda each: (each.sample.at, each.sample.probe != PORT_NAME))
    assert fed(one, health=BRIEF, expected=TWO) == fed(other, health=BRIEF, expected=TWO)


@given(HISTORIES, st.integers(0, 100))
def test_asking_more_often_changes_nothing(steps: list[tuple[str, str, int]], pause_s: int) -> None:
    outcomes = history(steps)
    series = begin(BRIEF, BEGAN, TWO)
    asked: list[Judgement] = []
    for each in outcomes:
        if not asked and series.seen_at is not None and series.seen_at < each.sample.at:
            between = min(series.seen_at + timedelta(seconds=pause_s), each.sample.at)
            asked += [found] if (found := judge(series, between)).verdict else []
        series = step(series, each)
    assert not asked or judge(series, after(10_000)) == asked[0]


@given(HISTORIES)
def test_it_always_ends(steps: list[tuple[str, str, int]]) -> None:
    outcomes = history(steps)
    series = fed(outcomes, health=BRIEF, expected=TWO)
    now = outcomes[-1].sample.at if outcomes else BEGAN
    for _ in range(4):
        found = judge(series, now)
        if found.verdict:
            break
        assert found.next_at is not None
        assert found.next_at > now
        now = found.next_at
    assert judge(series, now).verdict is not None
