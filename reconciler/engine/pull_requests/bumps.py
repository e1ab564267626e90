"""The bot that notices newer releases of pins that ask for it, and keeps a pull request for them."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from reconciler.engine.core import Core
from reconciler.engine.pins import moved, version_in
from reconciler.engine.pull_requests.keeper import Keeper
from reconciler.engine.pull_requests.moves import Files, View, Wish
from reconciler.engine.pull_requests.offers import Offers, Tags
from reconciler.engine.pull_requests.report import denied
from reconciler.forge import Denied, Pull, Unavailable
from reconciler.model import bumps as rules
from reconciler.model.bumped import wanted
from reconciler.model.bumps import Choice, Releases
from reconciler.model.derived import derived, path_of
from reconciler.model.environment import Environment, Pin
from reconciler.model.errors import HostError, TransientError, UgsError
from reconciler.model.notes import catalogue
from reconciler.model.pulls import Kept, branch_for
from reconciler.model.release import Release
from reconciler.model.snapshot import Snapshot
from reconciler.model.version import Version

log = logging.getLogger("ugs")
TROUBLE = "bumps"
LOOK_S = 300.0
DENIED_RETRY_S = 600.0
SAID_MAX = 1_000
TRIED_MAX = 20
"""So many versions of one pin are looked at, the newest first."""


class Bumper:
    """One task's. Used from the event loop's thread; Git, the forge and registries are asked in others."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._keeper = Keeper(core, core.forge, "bump") if core.forge else None
        self._offers = Offers(core)
        self._said: set[str] = set()
        """What was logged already."""

    async def keep(self) -> None:
        """Look whenever the branch or a pull request is said to have moved, and every five minutes; for ever."""
        core = self._core
        try:
            while True:
                core.wake.bumps.clear()
                await core.clock.wait(core.wake.bumps, await self.tried())
        finally:
            self._offers.close()

    async def tried(self) -> float:
        """One look; in how many seconds the next is due. What was not done is done then."""
        core = self._core
        try:
            await self.round()
        except Denied as error:
            denied(core, error)
            return DENIED_RETRY_S
        except Unavailable as error:
            log.warning("%s, and newer versions are proposed later", error)
            return error.retry_s or LOOK_S
        except UgsError as error:
            log.warning("newer versions are not looked for: %s", error)
        return LOOK_S

    async def round(self) -> None:
        """Look at every pin that asks for it, and at what is open. Raises as Git and the forge do."""
        core = self._core
        asked = [
            name for name, one in core.desired.items() if any(p.bump for p in one.environment.pins.values())
        ]
        if self._keeper is None:
            if asked:
                self._say(f"{', '.join(asked)}: pins ask for pull requests, and ugs.yaml names no forge")
            return
        if not asked and not any(one.state == "open" for one in core.store.pulls("bump")):
            core.troubles[TROUBLE] = ""
            return
        if await self._look(self._keeper):
            await self._look(self._keeper)  # what has ended makes room, and what people refused is known now

    async def _look(self, keeper: Keeper) -> bool:
        """Bring what is there to what should be; whether anything has ended by that."""
        core = self._core
        view = await keeper.look()
        snapshot = await asyncio.to_thread(core.repository.snapshot, view.tip)
        look = _Look(core, self._offers, view, snapshot, keeper.refused)
        await look.take()
        for trouble in look.troubles:
            self._say(trouble)
        core.troubles[TROUBLE] = look.needs_person
        return await keeper.round(view, look.wishes, why=look.why, unknown=look.unknown)

    def _say(self, text: str) -> None:
        if text not in self._said:
            if len(self._said) >= SAID_MAX:
                self._said.clear()
            self._said.add(text)
            log.warning("%s", text)


class _Look:
    """What there should be, from one look at the branch."""

    def __init__(
        self, core: Core, offers: Offers, view: View, snapshot: Snapshot, refused: frozenset[str]
    ) -> None:
        self._core, self._offers, self._view = core, offers, view
        self._snapshot, self._refused = snapshot, refused
        self._releases: defaultdict[str, dict[Version, Release]] = defaultdict(dict)
        for release in snapshot.releases.values():
            self._releases[release.service][release.version] = release
        self._catalogue = catalogue(snapshot.releases.values())
        self.wishes: list[Wish] = []
        self.unknown: set[str] = set()
        self.troubles: list[str] = []
        self.needs_person = ""

    async def take(self) -> None:
        core, snapshot = self._core, self._snapshot
        for name, environment in snapshot.environments.items():
            if name in core.desired and core.leases.opening(name).open:
                await self._environment(environment)
        hidden = {name for name, _ in snapshot.blind_pins} | snapshot.blind
        for kept in core.store.pulls("bump"):
            if kept.state == "open" and kept.environment in hidden:
                self.unknown.add(kept.branch)

    def why(self, kept: Kept) -> str:
        """Why what is open is moot."""
        shut = {rules.ask_of(kept.environment, *one) for one in self._shut(kept.environment)}
        for ask in kept.asks:
            service = ask.partition(" ")[0].partition("/")[2]
            if rival := self._rival(kept.environment, service):
                return f"#{rival.number} asks for a newer version of {service} too"
        return "; ".join(rules.moot(ask, self._snapshot.environments, shut) for ask in kept.asks)

    def _shut(self, environment: str) -> set[tuple[str, Version]]:
        """What failed there and is in quarantine: services and versions."""
        here = {(row.service, row.target.version) for row in self._core.store.quarantined(environment)}
        rollouts = self._core.rollouts.get(environment)
        return here | {(one.service, one.target.version) for one in (rollouts.shut if rollouts else ())}

    async def _environment(self, environment: Environment) -> None:
        groups: defaultdict[tuple[str | None, str], list[Choice]] = defaultdict(list)
        for service, pin in sorted(environment.pins.items()):
            if pin.bump is None or self._rival(environment.name, service):
                continue
            group = pin.bump.group
            key = (group, "") if group else (None, service)
            try:
                choice = await self._choice(environment, pin)
            except UgsError as error:
                self._trouble(environment, service, error)
                subject = f"group.{group}" if group else service
                self.unknown.add(branch_for("bump", environment.name, subject))
                continue
            if choice and choice.ask not in self._refused:
                groups[key].append(choice)
        for (group, _), choices in groups.items():
            zero = environment.policy.zero_minor
            made = wanted(choices, self._catalogue, group=group, zero_minor=zero)
            self.wishes.append(Wish(made, partial(edit, self._core, choices)))

    def _trouble(self, environment: Environment, service: str, error: UgsError) -> None:
        text = f"{environment.name}/{service}: newer versions are not known: {error}"
        self.troubles.append(text)
        if isinstance(error, HostError) and not isinstance(error, TransientError):
            self.needs_person = text

    def _rival(self, environment: str, service: str) -> Pull | None:
        """A pull request by which a person moves the same pin."""
        for pull in self._view.pulls:
            if not pull.fork and rules.rival_of(pull.branch, environment, service):
                return pull
        return None

    async def _choice(self, environment: Environment, pin: Pin) -> Choice | None:
        """The newest release that the pin may be moved to; None where there is none. Raises UgsError where nobody
        can be asked."""
        if pin.bump is None:
            return None
        releases: Releases = self._releases[pin.service]
        own = releases.get(pin.version)
        tags = await self._offers.of(pin.bump, pin.service, own.artifact.image if own else None)
        offered = tags if pin.bump.from_ != "releases" else dict.fromkeys(releases, "")
        shut = {version for service, version in self._shut(environment.name) if service == pin.service}
        for version in rules.newer(pin, offered, shut)[:TRIED_MAX]:
            release = releases.get(version)
            if release is None:
                made = await self._made(environment, pin, version, tags)
                if made:
                    return made
            elif not rules.unfit(environment, pin, release, releases):
                return Choice(environment.name, pin.service, pin.version, release)
        return None

    async def _made(self, environment: Environment, pin: Pin, version: Version, tags: Tags) -> Choice | None:
        """The release of a version that has no manifest yet, made from the newest one before it; None where that
        cannot be, which is told."""
        releases, path = self._releases[pin.service], path_of(pin.service, version)
        older = [one for one in releases if one < version and releases[one].withdrawn is None]
        model = releases[max(older)] if older else None
        try:
            if model is None or model.artifact.image is None or pin.bump is None:
                raise UgsError(f"{pin.service} {version} is there, and {path} is not", "add it")
            image = model.artifact.image
            if pin.bump.from_ != "registry":
                tags = await self._offers.image_tags(image, pin.service)
            if version not in tags:
                raise UgsError(f"{pin.service} {version} has no image and no manifest", f"add {path}")
            whole = await self._offers.digest(image, tags[version])
            data = await asyncio.to_thread(self._core.repository.file, self._view.tip, model.place.file)
            manifest, release = derived(data, model.place.file, version, whole)
        except TransientError:
            raise
        except UgsError as error:
            self.troubles.append(f"{environment.name}/{pin.service}: {error}")
            return None
        if why := rules.unfit(environment, pin, release, releases):
            log.debug("%s/%s: %s", environment.name, pin.service, why)
            return None
        return Choice(environment.name, pin.service, pin.version, release, manifest, model.version)


def edit(core: Core, choices: Sequence[Choice], tip: str) -> Files:
    """The pins moved at a commit, as far as they stand there as they did, with the manifests that are lacking;
    blocking."""
    mirror, before = core.repository.mirror, {one.service: one.before.text for one in choices}
    found = moved(
        mirror,
        tip,
        choices[0].environment,
        {one.service: one.release.version for one in choices},
        lambda service, node: version_in(node) == before[service],
    )
    made = dict[str, bytes]()
    for one in choices:
        manifest = path_of(one.service, one.release.version)
        if one.manifest and one.service not in found.left and mirror.blob_at(tip, manifest) is None:
            made[manifest] = one.manifest
    return found.files | made
