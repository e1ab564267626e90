"""The forge that ugs.yaml names, with its client, and where what is proposed there is looked at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from reconciler.config import Secret, Settings

if TYPE_CHECKING:
    from reconciler.forge import Forge
    from reconciler.git import Aside, Identity, Remote, Signers


@contextlib.contextmanager
def closing_forge(settings: Settings) -> Iterator[Forge | None]:
    """The forge for as long as it is needed."""
    forge = forge_of(settings)
    try:
        yield forge
    finally:
        if forge is not None:
            forge.close()


def forge_of(settings: Settings) -> Forge | None:
    """None where ugs.yaml names none. Its library is imported, and its secret read, at the first question."""
    said = settings.forge
    if said is None:
        return None
    base, token = {"api": said.api} if said.api else {}, said.token or Secret("forge.token", value="")
    match said.kind:
        case "github":
            from reconciler.forge.github import App, GitHub

            app = App(said.app, said.app_key.read) if said.app_key else None
            return GitHub(said.repository, token=said.token.read if said.token else None, app=app, **base)
        case "gitlab":
            from reconciler.forge.gitlab import GitLab

            return GitLab(said.repository, token=token.read, **base)
        case "bitbucket":
            from reconciler.forge.bitbucket import Bitbucket

            return Bitbucket(said.repository, token=token.read, **base)
        case "gitea":
            from reconciler.forge.gitea import Gitea

            return Gitea(said.repository, api=said.api or "", token=token.read)


@contextlib.contextmanager
def closing_aside(
    settings: Settings, remote: Remote, identity: Identity, signers: Signers | None
) -> Iterator[Aside | None]:
    """Where pull requests are looked at, if they are."""
    from reconciler.git import Aside

    if settings.forge is None or not settings.forge.preview:
        yield None
        return
    path, mirror = settings.state / "previews.git", settings.state / "mirror.git"
    with contextlib.closing(Aside(path, mirror, remote, identity, signers=signers)) as aside:
        yield aside
