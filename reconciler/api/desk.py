"""What is asked for by the buttons of messages: by whom, whether he may, and the answer that he alone sees."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta

from reconciler.api.denials import Denials
from reconciler.api.entry import Denied, Missing, check
from reconciler.engine import people, permits
from reconciler.engine.daemon import Daemon
from reconciler.model.errors import UgsError
from reconciler.model.rights import Caller, Place, Right
from reconciler.model.upgrade import Phase
from reconciler.notify import SlackWeb, Undelivered, buttons
from reconciler.notify.buttons import Deed, Pressed, Shown
from reconciler.notify.message import escaped, readable

log = logging.getLogger("ugs")
RIGHTS: Mapping[Deed, Right] = {"approve": "approve", "hold": "operate", "rollback": "operate"}
ONCE = timedelta(minutes=10)
ONCE_MAX = 1_000
"""So many are remembered, so that none counts twice."""
ANSWER_CHARS_MAX = 1_000


class Stranger(UgsError):
    """Nobody here knows who pressed it."""


class Desk:
    """`callers`: by their ids in Slack, the people whom UGS knows."""

    def __init__(self, daemon: Daemon, web: SlackWeb, callers: Mapping[str, Caller]) -> None:
        self._daemon = daemon
        self._web = web
        self._callers = callers
        self._denials = Denials(daemon.core)
        self._done = OrderedDict[str, datetime]()

    async def take(self, payload: object) -> None:
        """Do what an interaction asks for, once, and answer whoever asked. Raises nothing."""
        pressed = buttons.heard(payload)
        if pressed is None or not self._first(pressed.key):
            return
        try:
            said = await self._judged(pressed)
        except UgsError as error:
            said = str(error)
        except Exception:
            log.exception("bug: %s in Slack by %s", pressed.deed, pressed.user)
            said = "this was stopped by a bug of UGS; look at its log"
        if said:
            await self._answer(pressed, said)

    async def _judged(self, pressed: Pressed) -> str:
        try:
            return await self._do(pressed)
        except (Stranger, Denied, Missing) as error:
            self._denials.note(self._name(pressed), f"{pressed.deed} in Slack", error)
            return str(error)

    async def _do(self, pressed: Pressed) -> str:
        """What to say about it; empty where a dialog says it."""
        shown, fleet = pressed.origin.shown, self._daemon.fleet
        caller = self._callers.get(pressed.user)
        if caller is None:
            raise Stranger(
                f"Slack's {pressed.user} is nobody that UGS knows",
                "have an admin add you to notify.slack.people in ugs.yaml",
            )
        check(self._daemon, RIGHTS[pressed.deed], Place(shown.environment, shown.service), caller)
        where, core = f"{shown.environment}: {shown.service}", self._daemon.core
        if pressed.deed != "approve" and not pressed.submitted:
            if pressed.deed == "rollback":
                self._check_newest(shown)
            await self._web.call(
                "views.open", {"trigger_id": pressed.trigger, "view": buttons.dialog(pressed)}
            )
            return ""
        core.store.audit(
            f"{pressed.deed}-in-slack",
            environment=shown.environment,
            service=shown.service,
            operation=shown.operation,
            actor=caller.name,
            detail=f"asked for by Slack's {pressed.user}",
        )
        match pressed.deed:
            case "approve":
                await permits.approve(
                    fleet, shown.environment, shown.service, actor=caller.name, shown=shown.ask
                )
                return f"{where} is approved by you"
            case "hold":
                permits.hold(
                    fleet,
                    shown.environment,
                    shown.service,
                    actor=caller.name,
                    reason=pressed.reason,
                    lasting=pressed.lasting,
                )
                return f"{where} is held"
            case "rollback":
                self._check_newest(shown)
                reason = permits.reason_of(pressed.reason)
                await people.rollback(
                    fleet, shown.environment, shown.service, actor=caller.name, reason=reason
                )
                return f"{where} is being rolled back"

    def _check_newest(self, shown: Shown) -> None:
        """Raise Conflict unless what the message tells of is what a rollback would take back."""
        here = self._daemon.fleet.passes.get(shown.environment)
        upgrade = self._daemon.core.store.upgrade(shown.operation)
        running = here.running.get(shown.service) if here else None
        settled = (
            here
            and upgrade
            and upgrade.phase is Phase.SUCCEEDED
            and here.observed_target(shown.service) == upgrade.to
        )
        if not (running.operation == shown.operation if running else settled):
            raise people.Conflict(
                f"{shown.environment}: {shown.service} has moved on since that was shown",
                f"look again: `ugs status {shown.environment}`",
            )

    def _first(self, key: str) -> bool:
        """Whether this has not been done already: Slack may say the same again."""
        now = self._daemon.core.clock.now()
        while self._done and (now - next(iter(self._done.values())) >= ONCE or len(self._done) >= ONCE_MAX):
            self._done.popitem(last=False)
        if key in self._done:
            return False
        self._done[key] = now
        return True

    def _name(self, pressed: Pressed) -> str:
        caller = self._callers.get(pressed.user)
        return caller.name if caller else f"Slack's {pressed.user}"

    async def _answer(self, pressed: Pressed, text: str) -> None:
        """For his eyes alone. It is no loss where it does not arrive: the message itself tells what became of it."""
        fields = {
            "channel": pressed.origin.channel,
            "user": pressed.user,
            "text": escaped(readable(text, ANSWER_CHARS_MAX)),
        }
        try:
            await self._web.call("chat.postEphemeral", fields)
        except Undelivered as error:
            log.warning("an answer in Slack is not delivered: %s", error)
