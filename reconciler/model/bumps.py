"""Which newer version of a pinned service a pull request is made of, and what becomes of one that is open. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct

from reconciler.model.environment import Environment, Pin
from reconciler.model.errors import UgsError
from reconciler.model.misfits import misfits
from reconciler.model.path import way
from reconciler.model.range import Range
from reconciler.model.release import Release
from reconciler.model.version import Version

Releases = Mapping[Version, Release]
"""Of one service."""
_TAG = re.compile(r"(?:(?P<service>[a-z0-9][a-z0-9-]{0,62})[-/@])?v?(?P<version>\d.*)")


class Choice(Struct, frozen=True):
    """A pin that is to be moved to a release. `manifest`: of one that has none on the branch yet; empty for others.
    `origin`: the version whose manifest that was made from."""

    environment: str
    service: str
    before: Version
    release: Release
    manifest: bytes = b""
    origin: Version | None = None

    @property
    def ask(self) -> str:
        return ask_of(self.environment, self.service, self.release.version)


def ask_of(environment: str, service: str, version: Version) -> str:
    """What a pull request asks for, and what a person refuses by closing it."""
    return f"{environment}/{service} {version}"


def version_in(tag: str, service: str) -> Version | None:
    """The version that a tag names: `1.5.0`, `v1.5.0`, or where many share a repository `api-1.5.0`, `api/v1.5.0` and
    `api@1.5.0`. None for any other tag."""
    found = _TAG.fullmatch(tag)
    if found is None or found["service"] not in (None, service):
        return None
    try:
        return Version(found["version"])
    except ValueError:
        return None


def newer(pin: Pin, offered: Iterable[Version], shut: Collection[Version]) -> list[Version]:
    """What the pin may be moved to, the newest first. `shut`: what failed in its environment, and is in quarantine."""
    if pin.bump is None:
        return []
    wanted = Range.parse(pin.bump.range)
    fitting = {
        one for one in offered if one.rank > pin.version.rank and one not in shut and wanted.contains(one)
    }
    return sorted(fitting, reverse=True)


def unfit(environment: Environment, pin: Pin, release: Release, releases: Releases) -> str:
    """Why the pin cannot be moved to a release; empty where it can. `releases`: all of the service."""
    if release.withdrawn is not None:
        return f"{release.version} is withdrawn"
    if found := misfits(pin, release, environment.flags, environment.driver.kind, environment.hosts):
        return str(found[0])
    try:
        way({**releases, release.version: release}, pin.version, release.version)
    except UgsError as error:
        return error.message
    return ""


def rival_of(branch: str, environment: str, service: str) -> bool:
    """Whether a branch is one that `ugs bump --pr` makes for this pin: a person is faster."""
    start = f"bump-{environment}-{service}-"
    if not branch.startswith(start):
        return False
    try:
        Version(branch.removeprefix(start))
    except ValueError:
        return False
    return True


def moot(ask: str, environments: Mapping[str, Environment], shut: Collection[str]) -> str:
    """Why nobody asks for this any more, as it stands on the branch now. `shut`: asks for what is in quarantine."""
    where, _, text = ask.partition(" ")
    name, _, service = where.partition("/")
    environment = environments.get(name)
    pin = environment.pins.get(service) if environment else None
    if ask in shut:
        return f"{service} {text} failed in {name}, and is in quarantine"
    if pin is None:
        return f"{name} does not pin {service} any more"
    if pin.version.text == text:
        return f"{service} is pinned to {text} already"
    if pin.bump is None:
        return f"the pin of {service} asks for no pull requests any more"
    try:
        older = Version(text).rank <= pin.version.rank
    except ValueError:
        older = False
    return (
        f"{service} is pinned to {pin.version} by now"
        if older
        else f"{service} {text} is not to be pinned now"
    )


def stands_under(url: str, allowed: str) -> bool:
    """Whether a repository's URL is the one that is allowed, or goes on from there at a slash or a colon."""
    if ".." in url or "%" in url:
        return False
    beginning = allowed if allowed.endswith(("/", ":")) else f"{allowed}/"
    return url == allowed or url.startswith(beginning)


def server_of(url: str) -> tuple[str, str] | None:
    """The scheme and server of a repository's URL; None for a path on this machine."""
    if url.startswith(("/", "file:")):
        return None
    if "://" not in url:
        return "ssh", url.partition(":")[0].rpartition("@")[2]
    scheme, _, rest = url.partition("://")
    return scheme, rest.partition("/")[0].rpartition("@")[2]
