"""Newer versions as others tell of them: tags of repositories and of images, asked seldom, and only where ugs.yaml
allows it. Used from the event loop's thread by one task; what blocks is asked in others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from msgspec.structs import replace

from reconciler.engine.core import Core
from reconciler.git import Remote
from reconciler.model.bumps import server_of, stands_under, version_in
from reconciler.model.environment import Bump
from reconciler.model.errors import HostError, UgsError
from reconciler.model.version import Version
from reconciler.registry import Login, Registry, name_in

T = TypeVar("T")
Tags = dict[Version, str]
"""The tag of each version."""
KEPT_MAX = 1_000


class Offers:
    """What was answered, trouble too, is told again for as long as ugs.yaml says."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._known: dict[tuple[str, ...], tuple[float, object]] = {}
        self._registries: dict[str, Registry] = {}

    def close(self) -> None:
        """Let go of connections."""
        for registry in self._registries.values():
            registry.close()

    async def of(self, bump: Bump, service: str, image: str | None) -> Tags:
        """What there is of a service beyond the tracked branch. `image`: the one that is pinned.

        Raises UgsError of all fates: not allowed, not reached, not there.
        """
        match bump.from_:
            case "releases":
                return {}
            case "git-tags":
                return await self._git_tags(bump.repository or "", service)
            case "registry":
                return await self.image_tags(image, service)

    async def image_tags(self, image: str | None, service: str) -> Tags:
        """The tags of an image that are versions. Raises UgsError, also where there is no image."""
        if image is None:
            raise UgsError(f"{service} has no image", "write `from: releases` or `from: git-tags`")
        host, name = name_in(image)
        registry = self._registry(host)
        return _versions(await self._asked(("tags", host, name), lambda: registry.tags(name)), service)

    async def digest(self, image: str, tag: str) -> str:
        """What a tag of an image is now: a whole name for a manifest."""
        host, name = name_in(image)
        registry = self._registry(host)
        digest = await self._asked(("digest", host, name, tag), lambda: registry.digest(name, tag))
        written = image.partition("@")[0]
        if written.rpartition(":")[2] and "/" not in written.rpartition(":")[2] and ":" in written:
            written = f"{written.rpartition(':')[0]}:{tag}"
        return f"{written}@{digest}"

    async def _git_tags(self, url: str, service: str) -> Tags:
        core, allowed = self._core, self._core.settings.bumps.repositories
        if not any(stands_under(url, one) for one in allowed):
            raise HostError(
                f"{service}: the tags of {url} may not be asked for",
                "add its beginning to bumps.repositories",
            )
        own = core.repository.remote
        # Our credentials are for our own server alone.
        same = server_of(url) is not None and server_of(url) == server_of(own.url)
        other = replace(own, url=url) if same else Remote(url, environment=own.environment)
        return _versions(
            await self._asked(("git", url), lambda: core.repository.mirror.tags_of(other)), service
        )

    def _registry(self, host: str) -> Registry:
        settings = self._core.settings
        login = settings.registries.get(host)
        if login is None and host not in settings.bumps.registries:
            raise HostError(f"the registry {host} may not be asked for tags", "add it to bumps.registries")
        if host not in self._registries:
            self._registries[host] = Registry(
                host, Login(login.username, login.password.read) if login else None
            )
        return self._registries[host]

    async def _asked(self, key: tuple[str, ...], call: Callable[[], T]) -> T:
        now_s = self._core.clock.monotonic()
        until_s, known = self._known.get(key, (0.0, None))
        if known is None or until_s <= now_s:
            try:
                known = await asyncio.to_thread(call)
            except UgsError as error:
                known = error
            while len(self._known) >= KEPT_MAX:
                del self._known[next(iter(self._known))]
            self._known[key] = now_s + self._core.settings.bumps.every_s, known
        if isinstance(known, UgsError):
            raise known
        return known  # type: ignore[return-value]  # what `call` has answered under this key


def _versions(tags: tuple[str, ...], service: str) -> Tags:
    return {version: tag for tag in tags if (version := version_in(tag, service))}
