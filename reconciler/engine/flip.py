"""A person switches a flag through the daemon: one setting edited at the remote's tip, and a commit that says who."""

from __future__ import annotations

from reconciler.engine.core import Core
from reconciler.engine.fleet import Fleet
from reconciler.engine.people import Conflict
from reconciler.engine.permits import reason_of
from reconciler.engine.pins import environment_files
from reconciler.engine.revert import pushed
from reconciler.model.errors import UgsError
from reconciler.model.flip import Wanted, files_of, flipped, subject
from reconciler.model.introduced import introduced


async def flip(
    fleet: Fleet, environment: str, flag: str, wanted: Wanted | None, *, actor: str, reason: str
) -> str | None:
    """Commit it, with None that nothing sets it any more. The commit; None where it stands so already.

    Raises Conflict, and UgsError where the file would say something that is refused. When it comes in force is for
    the environment's gates to say.
    """
    core = fleet.core
    if core.settings.trust is not None:
        # The daemon's signature goes everywhere: it is not lent to whom the signers may not include.
        raise Conflict(
            "what counts here are commits of those who are trusted, and this would be the daemon's",
            f"switch it by a commit of your own: `ugs flags set {environment} {flag} VALUE`",
        )
    why = reason_of(reason) if reason else ""
    commit = await pushed(core, _commit, core, environment, flag, wanted, actor, why)
    if commit is None:
        return None
    text = f"{subject(environment, flag, wanted)}; commit {commit}"
    core.store.audit(
        "flag-set", environment=environment, actor=actor, detail=f"{text}: {why}" if why else text
    )
    await fleet.refresh()
    return commit


def _commit(
    core: Core, environment: str, flag: str, wanted: Wanted | None, actor: str, why: str
) -> str | None:
    """One try, blocking, at a commit on the remote's tip. Raises PushRejected where somebody was faster."""
    repository, mirror = core.repository, core.repository.mirror
    tip = repository.fetch().tip
    files = dict(environment_files(mirror, tip, environment))
    path = next((one for one in files_of(environment) if one in files), None)
    if path is None:
        raise Conflict(f"there is no environment {environment} at {tip[:12]}", "fetch: `ugs sync`")
    changed = flipped(files[path], path, flag, wanted)
    if changed == files[path]:
        return None
    asked = f"Asked for by {actor}{f': {why}' if why else '.'}"
    text = f"{subject(environment, flag, wanted)}\n\n{asked}\n\nUgs-Environment: {environment}\n"
    commit = mirror.commit(tip, {path: changed}, text, at=core.clock.now())
    if problems := introduced(repository.snapshot(tip).problems, repository.snapshot(commit).problems):
        raise UgsError("\n".join(map(str, problems)), "set another value")
    mirror.push(commit)
    return commit
