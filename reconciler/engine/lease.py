"""Whose the environments are, as the rest of the engine asks it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from reconciler.model import lease as rules
from reconciler.model.lease import Standing
from reconciler.model.window import Opening

ANSWER_S = 5.0
"""How long an effect waits for the remote to say whose an environment is, once that has become doubtful."""


class Leases:
    """Without a register, as with `lease: off`: every environment is this daemon's."""

    def standing(self, _environment: str) -> Standing:
        """Whose an environment is at this very moment."""
        return "held"

    def epoch(self, _environment: str) -> int:
        """Under which epoch an environment was last held."""
        return 0

    def last(self, _environment: str) -> int:
        """Under which epoch an environment was last held by this daemon, in this life of it or a former one."""
        return 0

    def known_to(self, _environment: str) -> int | None:
        """The last epoch of which is known what was done, by whomever. None where there are no leases."""
        return None

    def opening(self, _environment: str) -> Opening:
        """The gate `lease`, with the sentence that says whose an environment is when it is not ours."""
        return rules.OPEN

    def behind_s(self, _environment: str) -> float | None:
        """Since when an environment is ours that others have had, and of which Git was not asked yet what they did;
        in monotonic seconds. None when nothing is to be read first. Until `caught_up`, it does not count as held."""
        return None

    def lent(self) -> Collection[str]:
        """Those of which `behind_s` may tell something."""
        return ()

    def others_had(self, _environment: str) -> bool:
        """Whether others have had an environment since it was last held here, as far as the remote was heard, and what
        they did was not read yet: what is remembered of it may be long out of date."""
        return False

    def is_shared(self, _environment: str) -> bool:
        """Whether another daemon was ever seen to have an environment."""
        return False

    def caught_up(self, _environment: str) -> None:
        """What others did to an environment is known here now."""

    def refusals(self) -> list[str]:
        """What a person has to mend before the environments can be held."""
        return []

    async def settled(self, _environment: str) -> None:
        """Wait until the remote was asked since it became doubtful whose an environment is; ANSWER_S at most."""

    async def keep(
        self, _environments: Callable[[], Collection[str]], _changed: Callable[[str], None]
    ) -> None:
        """Hold the environments, for ever; says whose standing has changed."""
        await asyncio.Event().wait()

    async def give_back(self) -> None:
        """Let others take over at once. Nothing of ours may be under way any more."""
