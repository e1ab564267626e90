"""What the commits tell of one environment: which asked for what, by which rules, and what it was before."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

from msgspec.structs import replace

from reconciler.engine.names import HISTORY_MAX, names_before
from reconciler.engine.then import Then
from reconciler.git import Commit, Mirror
from reconciler.model import desired as desiring
from reconciler.model.circumstances import AT_COMMIT, BEFORE_COMMIT, BEFORE_PUSH, Asked, Earlier
from reconciler.model.desired import Frozen
from reconciler.model.environment import Environment
from reconciler.model.errors import InputError
from reconciler.model.layout import paths_of
from reconciler.model.snapshot import Snapshot
from reconciler.model.standing import Standing, standings
from reconciler.model.target import Target, Workload
from reconciler.model.version import Version
from reconciler.store import Advance

SWITCHES_MAX = 50
NEW_COMMITS_MAX = 10_000
TOLD_MAX = 16
"""For so many commits and environments it is kept what all the services that one of them moved have in common."""
COMMITS_KEPT_MAX = 1_000


class Past:
    """Blocking, but for `asked_at_once`; called in threads. `snapshot`: the repository at a revision; `known`: the
    same of one that was read lately, else None."""

    def __init__(
        self, mirror: Mirror, snapshot: Callable[[str], Snapshot], known: Callable[[str], Snapshot | None]
    ) -> None:
        self.mirror = mirror
        self.snapshot, self.known = snapshot, known
        # What never changes, and what thousands of services ask for, one after the other, that one commit has moved.
        self._commits: dict[str, Commit] = {}
        self._told = lru_cache(TOLD_MAX)(self._tell)
        self._pushes: dict[tuple[str, int, Advance], Advance | None] = {}
        """By commit, and how many fetches there have been, and the last of them."""

    def commit(self, sha: str) -> Commit:
        """What a commit says."""
        found = self._commits.get(sha)
        if found is None:
            if len(self._commits) >= COMMITS_KEPT_MAX:
                self._commits.clear()
            found = self._commits[sha] = self.mirror.described(sha)
        return found

    def asked(
        self,
        tip: str,
        environment: str,
        service: str,
        work: Workload | None,
        frozen: Frozen,
        advances: Sequence[Advance] = (),
    ) -> Asked:
        """The first-parent commit since which the environment asks for `work` (None: for a removal of what runs),
        who wrote it, and what it and its push changed of the environment.

        `advances`: what fetches brought into force, the oldest first.
        """
        commit, names = self._since(tip, environment, service, work, frozen)
        told = self._told(commit, environment, names, self._push_of(commit, advances))
        return _urged(told, self.snapshot(commit.sha), service, work)

    def asked_at_once(
        self,
        tip: str,
        environment: str,
        service: str,
        work: Workload | None,
        frozen: Frozen,
        advance: Advance | None,
    ) -> Asked | None:
        """The same, without asking Git: where the newest commit has asked for it, was fetched by itself, and is known
        with what it follows. None elsewhere. `advance`: what the last fetch brought into force."""
        if advance is None or advance.tip != tip:
            return None
        now, before = self.known(tip), self.known(advance.before)
        if now is None or before is None:
            return None
        newest, then = self._commits.get(tip), Then(environment, now, frozen)
        if newest is None or newest.parents != (advance.before,) or not then.asks_by_one_name(service, work):
            return None
        if Then(environment, before, frozen).asks(service, work):
            return None
        return _urged(self._told(newest, environment, then.names, advance), now, service, work)

    def _since(
        self, tip: str, environment: str, service: str, work: Workload | None, frozen: Frozen
    ) -> tuple[Commit, tuple[str, ...]]:
        """The commit since which the environment asks for it, and all the names that it had from then on, the newest
        first."""
        newest, now = self.commit(tip), Then(environment, self.snapshot(tip), frozen)
        if newest.parents and now.asks_by_one_name(service, work):
            before = Then(environment, self.snapshot(newest.parents[0]), frozen)
            if not before.asks(service, work):
                return newest, now.names  # as nearly always, and Git need not be asked for what came before
        since, found = newest, [environment]
        for commit, then in self._walk(tip, environment, service, frozen):
            if not then.asks(service, work):
                break
            since = commit
            found += [name for name in then.names if name not in found]
        return since, tuple(found)

    def _tell(self, commit: Commit, environment: str, names: tuple[str, ...], push: Advance | None) -> Asked:
        """What a commit and its push say of all that they moved in one environment."""
        revision, first = commit.sha, commit.parents[0] if commit.parents else None
        merged = len(commit.parents) > 1
        limit = NEW_COMMITS_MAX
        brought = self.mirror.log(first, revision, first_parent=False, limit=limit) if merged else []
        moments = {BEFORE_PUSH: push.before if push else None, BEFORE_COMMIT: first, AT_COMMIT: revision}
        until = push.tip if push else revision
        if push and len(names) > 1 and _named(self.snapshot(push.before), names) is None:
            names += tuple(names_before(self, revision, names[-1]))
        stood = {sha: _named(self.snapshot(sha), names) for sha in {*moments.values(), until} if sha}
        rules = {sha: _rules(one, environment) for sha, one in stood.items()}
        past = [(when, rules[sha]) for when, sha in moments.items() if sha]
        begun, ended = stood.get(moments[BEFORE_PUSH] or first or ""), stood[until]
        pinned = frozenset(begun.pins) if begun else frozenset[str]()
        return Asked(
            revision=revision,
            authors=tuple(sorted({who for one in (commit, *brought) for who in (one.author, one.email)})),
            earlier=tuple(Earlier(when, then) for when, then in past if then and then != rules[until]),
            pinned=pinned,
            left_out=pinned - ended.pins.keys() if ended else pinned,
            since=rules[until],
            base=moments[BEFORE_PUSH] or first or "",
        )

    def moved(
        self, revision: str, environment: str, frozen: Frozen
    ) -> dict[str, tuple[Workload | None, Workload]]:
        """By service that this commit moved: what was asked for before it (None: nothing), and by it."""
        commit = self.commit(revision)
        after = desiring.resolve(self.snapshot(revision), frozen).get(environment)
        first = commit.parents[0] if commit.parents else None
        before = desiring.resolve(self.snapshot(first), frozen).get(environment) if first else None
        if after is None or (before and before.hidden):
            return {}
        old = before.workloads if before else {}
        return {
            service: (old.get(service), work)
            for service, work in after.workloads.items()
            if not (before and service in before.blind)
            and (service not in old or old[service].target != work.target)
        }

    def switched(
        self, tip: str, environment: str, flags: Mapping[str, Standing | None]
    ) -> dict[str, Commit | None]:
        """By flag, the commit since which the environment has it so (None: not at all); None where nobody can say."""
        found: dict[str, Commit | None] = dict.fromkeys(flags)
        open_: set[str] = set(flags)
        for commit in self.mirror.log(None, tip, paths=paths_of(environment), limit=SWITCHES_MAX):
            try:
                then = _flags_of(self.snapshot(commit.sha), environment)
            except InputError:
                break  # nothing of that one could be read, nor was it ever in force
            for name in sorted(open_):
                was, now = then.get(name), flags[name]
                if (was is None) is not (now is None) or (was and now and not was.answers_as(now)):
                    open_.discard(name)
                else:
                    found[name] = commit
            if not open_:
                break
        return found

    def pinned(self, tip: str, environment: str, service: str, version: Version) -> bool:
        """Whether the environment has pinned this version of a service, now or in the recent past."""
        return any(
            (pin := place.pins.get(service)) is not None and pin.version == version
            for _, then in self._walk(tip, environment, service, {})
            if (place := then.environment)
        )

    def workload_of(
        self, tip: str, environment: str, service: str, target: Target, frozen: Frozen
    ) -> Workload | None:
        """What describes a running target, from the recent past of the repository: as it was pinned, or else as it was
        passed on the way to a newer version."""
        passed: Workload | None = None
        for _, then in self._walk(tip, environment, service, frozen):
            candidate = then.workload(service)
            if candidate is not None and candidate.target == target:
                return replace(candidate, environment=environment)
            if passed is None and (found := then.on_the_way(service, target.version)):
                passed = replace(found, environment=environment) if found.target == target else None
        return passed

    def _push_of(self, commit: Commit, advances: Sequence[Advance]) -> Advance | None:
        """What brought a commit into force; None where nothing is known of it."""
        if advances and advances[-1].tip == commit.sha and advances[-1].before in commit.parents:
            return advances[-1]  # as nearly always, and Git need not be asked
        if not advances:
            return None
        key = commit.sha, len(advances), advances[-1]
        if key not in self._pushes:
            if len(self._pushes) >= COMMITS_KEPT_MAX:
                self._pushes.clear()
            self._pushes[key] = self._sought_push(commit, advances)
        return self._pushes[key]

    def _sought_push(self, commit: Commit, advances: Sequence[Advance]) -> Advance | None:
        def reached(sha: str) -> bool:
            return self.mirror.is_ancestor(commit.sha, sha)

        at = bisect_left(
            advances, True, key=lambda one: reached(one.tip)
        )  # later ones contain all that is earlier
        return advances[at] if at < len(advances) and not reached(advances[at].before) else None

    def _walk(
        self, tip: str, environment: str, service: str, frozen: Frozen
    ) -> Iterator[tuple[Commit, Then]]:
        """The commits that may have changed what the environment asks of a service, the newest first, also under
        the names that it had before."""
        name, start, left = environment, tip, HISTORY_MAX
        while start and left > 0:
            until, start = start, ""
            paths = (*paths_of(name), f"releases/{service}")
            for commit in self.mirror.log(None, until, paths=paths, first_parent=True, limit=left):
                left -= 1
                given, then = self._taken_over(commit, Then(name, self.snapshot(commit.sha), frozen), until)
                yield given, then
                if old := self._renamed_at(given, then):
                    name, start = old, given.parents[0]
                    break

    def _taken_over(self, commit: Commit, then: Then, until: str) -> tuple[Commit, Then]:
        """Of one that says a former name whose files still stood beside it: the commit that removed those later, and
        how it stood then."""
        place = then.snapshot.followed.get(then.name)
        old = place.environment.renamed_from if place else None
        if old is None or then.name not in then.snapshot.related.misnamed:
            return commit, then
        for later in self.mirror.log(None, until, paths=paths_of(old), first_parent=True, limit=1):
            stood = Then(then.name, self.snapshot(later.sha), then.frozen)
            if stood.environment is not None:
                return later, stood
        return commit, then

    def _renamed_at(self, commit: Commit, then: Then) -> str:
        """The name that the environment had until this very commit; empty when it had none."""
        old = then.environment.renamed_from if then.environment else None
        if old is None or not commit.parents:
            return ""
        before = self.snapshot(commit.parents[0])
        misnamed = before.related.misnamed  # it was to be called so, and was not yet
        known = before.environments.keys() | (before.blind - misnamed.keys())
        return old if then.name not in known else ""


def _flags_of(snapshot: Snapshot, environment: str) -> dict[str, Standing]:
    """What it declares and sets of flags, whatever runs."""
    place = snapshot.environments.get(environment)
    pins = place.pins.values() if place else ()
    releases = [snapshot.releases[pin.service, pin.version.text] for pin in pins]
    return standings(releases, place.flags if place else {}, {}, {})


def _urged(told: Asked, snapshot: Snapshot, service: str, work: Workload | None) -> Asked:
    """With what the release says of its urgency."""
    release = snapshot.releases.get((service, work.target.version.text)) if work else None
    return replace(told, urgency=release.upgrade.urgency) if release else told


def _named(snapshot: Snapshot, names: Sequence[str]) -> Environment | None:
    """The environment under the name that it had in this commit, of which `names` are all, the newest first."""
    return next((snapshot.environments[name] for name in names if name in snapshot.environments), None)


def _rules(environment: Environment | None, name: str) -> Environment | None:
    """What it says beside its pins, its flags and its names."""
    return replace(environment, name=name, renamed_from=None, pins={}, flags={}) if environment else None
