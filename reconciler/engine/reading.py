"""A tip of the branch as far as it is trusted: what is about to be in force."""

from __future__ import annotations

import contextlib

from msgspec import Struct

from reconciler.engine.repository import Repository
from reconciler.engine.trust import Judged
from reconciler.model.desired import Desired, Frozen, resolve
from reconciler.model.environment import Environment
from reconciler.model.errors import InputError
from reconciler.model.snapshot import Snapshot


class Reading(Struct, frozen=True):
    """What was read of a tip, as far as it is trusted."""

    snapshot: Snapshot
    held: dict[str, Snapshot | None]
    """Environments that stay behind, at their last trusted revisions."""
    beyond: Snapshot | None
    """What the tip says that is not trusted: to be shown, never followed."""

    @property
    def environments(self) -> dict[str, Environment]:
        """Each at the last revision that is trusted for it."""
        older = {name: one.environments.get(name) if one else None for name, one in self.held.items()}
        return {name: one for name, one in {**self.snapshot.environments, **older}.items() if one}

    @property
    def there(self) -> frozenset[str]:
        """What the repository has, be it only in a file that cannot be read or in a commit that is not trusted."""
        return self.snapshot.blind.union(self.environments, self.held)

    def resolved(self, frozen: Frozen) -> dict[str, Desired]:
        """What each environment asks for, at the last revision that is trusted for it."""
        found = {name: one for name, one in resolve(self.snapshot, frozen).items() if name not in self.held}
        for name, older in self.held.items():
            if older and (desired := resolve(older, frozen).get(name)):
                found[name] = desired
        return found


def read(repository: Repository, tip: str, judged: Judged) -> Reading | None:
    """Blocking. None where there is nothing that is trusted."""
    if judged.tip is None:
        return None
    beyond = None
    if judged.tip != tip:
        with contextlib.suppress(InputError):
            beyond = repository.snapshot(tip)
    held = {
        name: repository.snapshot(one.revision) if one.revision else None for name, one in judged.held.items()
    }
    return Reading(repository.snapshot(judged.tip), held, beyond)


def accepted_environments(repository: Repository) -> list[Environment]:
    """Blocking. Those of the commit that a former daemon had in force last."""
    tip = repository.mirror.accepted()
    return list(repository.snapshot(tip).environments.values()) if tip else []
