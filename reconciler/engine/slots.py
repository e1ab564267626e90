"""Taking a slot before an upgrade starts, and giving it back after it has ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from reconciler.engine.core import Core
from reconciler.model.circumstances import Gate
from reconciler.model.codec import decode, encode
from reconciler.model.errors import TransientError
from reconciler.model.plan import Change
from reconciler.model.slots import (
    HEADER,
    PRE_REBOOT,
    STEADY_STATE,
    Body,
    Client,
    Hold,
    Refusal,
    Rule,
    slot_id,
)
from reconciler.model.upgrade import FINAL, NOT_BEGUN, Upgrade

log = logging.getLogger("ugs")
ANSWER_S = 5.0
ANSWER_BYTES_MAX = 64 << 10
AGAIN_S = 5.0
"""How long a refusal is believed, and a server that does not answer is left alone."""
Gates = tuple[Gate, ...]


@dataclass
class Slots:
    """For one environment. What upgrades hold is in the database: this only remembers whom not to ask again yet."""

    core: Core
    name: str
    _refused: dict[str, tuple[str, float]] = field(default_factory=dict)
    """By service, why it got none, and until when that is believed (monotonic seconds)."""
    _silent_until_s: float = 0.0

    async def asked(self, upgrade: Upgrade, gates: Gates, look: Callable[[], tuple[Change, Gates]]) -> Gates:
        """With every gate open: the gates once there is a slot, looked at again after it was waited for; or the gate
        `concurrency` closed, because there is none."""
        desired = self.core.desired.get(self.name)
        rule = desired.environment.policy.slots if desired else None
        if rule is None:
            return gates
        why = await self._taken(Hold(self.name, upgrade.service, upgrade.operation, rule))
        if not why:
            return look()[1]
        shut = Gate(
            "concurrency", open=False, reason=why, opened_by=f"a slot of {rule.group} that is given back"
        )
        return tuple(shut if gate.gate == "concurrency" else gate for gate in gates)

    async def give_back(self) -> None:
        """Give back what is held for upgrades that are not under way: also what a daemon before this one held."""
        core, now_s = self.core, self.core.clock.monotonic()
        for hold in core.store.held_slots(self.name):
            upgrade = core.store.upgrade(hold.operation)
            if upgrade and upgrade.phase not in FINAL | NOT_BEGUN:
                continue
            if hold.rule.url and now_s < self._silent_until_s:
                continue
            try:
                await self._said(hold, STEADY_STATE)
            except TransientError as error:
                log.warning("%s: the slot of %s is not given back yet: %s", self.name, hold.service, error)
                self._silent_until_s = core.clock.monotonic() + AGAIN_S
            else:
                core.store.let_slot_go(hold)

    async def _taken(self, hold: Hold) -> str:
        """Why there is no slot; empty once there is."""
        core, now_s = self.core, self.core.clock.monotonic()
        why, until_s = self._refused.get(hold.service, ("", 0.0))
        if why and now_s < until_s:
            return why
        self._refused.pop(hold.service, None)
        if why := self._forbidden(hold.rule):
            return why
        core.store.hold_slot(
            hold
        )  # before it is asked for: whoever dies in between gives back what may be ours
        core.failpoint("slot:begun")
        try:
            refused = await self._said(hold, PRE_REBOOT)
        except TransientError as error:
            why = str(error)
        else:
            why = f"no slot of {hold.rule.group}: {refused.value}" if refused else ""
            if refused:
                core.store.let_slot_go(hold)
        core.failpoint("slot:done")
        if why:
            self._refused[hold.service] = why, core.clock.monotonic() + AGAIN_S
        return why

    def _forbidden(self, rule: Rule) -> str:
        own = self.core.settings.fleetlock
        if rule.url is None or rule.url.startswith(own.allow):
            return ""
        return f"{rule.url} is not under `fleetlock.allow` in ugs.yaml"

    async def _said(self, hold: Hold, path: str) -> Refusal | None:
        """What the server answers. Raises TransientError where nobody knows."""
        core, rule = self.core, hold.rule
        client = slot_id(core.host, hold.environment, hold.service)
        if rule.url is not None:
            return await _posted(rule.url.rstrip("/") + path, Body(Client(client, rule.group)), core)
        if path == STEADY_STATE:
            core.store.give_slot_back(rule.group, client)
            return None
        return core.store.take_slot(rule.group, client, core.settings.fleetlock.groups.get(rule.group))


async def _posted(url: str, body: Body, core: Core) -> Refusal | None:
    import aiohttp

    try:
        async with (
            asyncio.timeout(ANSWER_S),
            core.probes.session() as session,
            session.post(
                url,
                data=encode(body),
                headers={HEADER: "true", "Content-Type": "application/json"},
                allow_redirects=False,
            ) as response,
        ):
            answer = await response.content.read(ANSWER_BYTES_MAX)
            status = response.status
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise TransientError(
            f"the slots of {url} are not to be had: {error or 'no answer'}", "see to it"
        ) from error
    if status == 200:
        return None
    try:
        said = decode(answer, Refusal)
    except msgspec.MsgspecError:
        said = Refusal("", f"it answers {status}")
    if status >= 500:
        raise TransientError(f"{url}: {said.value}", "see to it")
    return replace(said, value=" ".join(said.value.split())[:300])
