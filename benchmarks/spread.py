"""How far a release that is bad everywhere gets, on 100,000 hosts, before all of them know: `make spread`.

Pure arithmetic over the places that hosts really have. Every host learns of anything at its next poll, at an instant of
its own; a push takes a second; what begins is ill, and says so after `fails_s`.
"""

from __future__ import annotations

from itertools import takewhile
from random import Random
from statistics import median

from msgspec import Struct

from reconciler.model.progressive import place

HOSTS = 100_000
ROLLOUTS = 15
PUSH_S = 1.0
LENGTHS_S = {"at once": 0.0, "1h": 3600.0, "24h": 86400.0, "7d": 604800.0}
POLLS_S = {"30s": 30.0, "5m": 300.0}
FAILS_S = {"30s": 30.0, "5m": 300.0}


class Course(Struct, frozen=True):
    """One way to roll out. All in seconds; `ill`: the share of hosts on which the release fails."""

    length_s: float
    poll_s: float
    fails_s: float
    failures: int = 1
    ill: float = 1.0


def places_of(hosts: int, operation: str) -> list[float]:
    """Where the hosts stand in one rollout, in order."""
    return sorted(place(f"web-{number}", operation) for number in range(hosts))


def begun(places: list[float], course: Course, random: Random) -> int:
    """How many hosts have begun the release by the time that each of them knows that it is taken back."""
    starts: list[tuple[float, float]] = []
    """Of each host that may have begun: when its turn is, and when it begins."""
    failed: list[float] = []
    enough_s = float("inf")
    for at in places:
        turn_s = at * course.length_s
        if turn_s > enough_s:
            break
        start_s = max(
            turn_s, random.uniform(0, course.poll_s)
        )  # it has to learn first that the rollout has begun
        starts.append((turn_s, start_s))
        if random.random() < course.ill:
            failed = sorted([*failed, start_s + course.fails_s])[: course.failures]
            if len(failed) == course.failures:
                enough_s = failed[-1]
    if enough_s == float("inf"):
        return len(places)
    published_s = enough_s + PUSH_S + random.uniform(0, course.poll_s) + PUSH_S
    last_s = published_s + course.poll_s
    turns = [turn_s for turn_s, _ in starts]
    turns += takewhile(
        lambda turn_s: turn_s <= last_s, (at * course.length_s for at in places[len(starts) :])
    )
    known = starts + [
        (turn_s, max(turn_s, random.uniform(0, course.poll_s))) for turn_s in turns[len(starts) :]
    ]
    return sum(start_s <= published_s + random.uniform(0, course.poll_s) for _, start_s in known)


def row(course: Course, *, hosts: int = HOSTS, rollouts: int = ROLLOUTS) -> tuple[int, int]:
    """The median and the most over so many rollouts of different operations. The same numbers every time."""
    counts = [begun(places_of(hosts, f"{number:016x}"), course, Random(number)) for number in range(rollouts)]
    return round(median(counts)), max(counts)


def table() -> list[str]:
    """The figures of docs/hosts.md, as they stand there."""
    lines = [
        "| `progressive` | `poll` | fails after | hosts that began it | at most |",
        "|---|---|---|---|---|",
    ]
    for length, length_s in LENGTHS_S.items():
        for poll, poll_s in POLLS_S.items():
            for fails, fails_s in FAILS_S.items():
                usual, most = row(Course(length_s, poll_s, fails_s))
                lines.append(f"| {length} | {poll} | {fails} | {usual:,} ({usual / HOSTS:.2%}) | {most:,} |")
    return lines


if __name__ == "__main__":
    print("\n".join(table()))
