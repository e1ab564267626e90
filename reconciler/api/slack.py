"""How what is pressed in Slack gets here: through Socket Mode, or by requests that Slack signs."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from urllib.parse import parse_qs

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reconciler.api.desk import Desk
from reconciler.api.door import Door, Routes
from reconciler.api.endpoint import BadRequest, TooLarge, TooSlow, bytes_of
from reconciler.api.identity import Unknown
from reconciler.api.rates import OF_A_STRANGER
from reconciler.clock import Clock
from reconciler.notify import SocketMode

log = logging.getLogger("ugs")
PATH = "/slack/interactivity"
BODY_BYTES_MAX = 256 << 10
SIGNED_WITHIN_S = 300.0
SEEN_MAX = 10_000
AT_ONCE_MAX = 20
SIGNED = "compare notify.slack.signing_secret with the app's, and this machine's clock with the time"


async def listen(socket: SocketMode, desk: Desk) -> None:
    """Hear Socket Mode for ever; what was heard is done beside it, so many at once."""
    room = asyncio.Semaphore(AT_ONCE_MAX)

    async def take(payload: object) -> None:
        async with room:
            await desk.take(payload)

    async with asyncio.TaskGroup() as tasks:

        async def hear(payload: object) -> None:
            async with room:  # no more is read than can be done
                tasks.create_task(take(payload))

        await socket.listen(hear)


def interactivity(desk: Desk, signing_secret: str, clock: Clock) -> Routes:
    """The route for signed requests. Whoever has no signature, an old one, or one that was here, is turned away."""
    signatures = _Signatures(signing_secret, clock)

    def routes(door: Door) -> list[Route]:
        async def heard(request: Request) -> Response:
            who = f"slack {request.client.host if request.client else ''}"
            door.rates.look(who, OF_A_STRANGER)
            try:
                body = await bytes_of(request, BODY_BYTES_MAX)
                signatures.check(request, body)
            except (Unknown, TooLarge, TooSlow):
                door.rates.take(who, OF_A_STRANGER)  # who knows the secret may come as often as he likes
                raise
            # Answered first: Slack waits for three seconds.
            return Response(status_code=200, background=BackgroundTask(desk.take, _payload(body)))

        return [Route(PATH, door.guarded(heard), methods=["POST"])]

    return routes


def _payload(body: bytes) -> object:
    """What the form holds. Raises BadRequest."""
    try:
        return json.loads(parse_qs(body.decode())["payload"][0])
    except (ValueError, KeyError, RecursionError) as error:
        raise BadRequest("this is no interaction of Slack's", "let nobody but Slack send here") from error


class _Signatures:
    """Of requests by Slack: each counts once, and soon."""

    def __init__(self, secret: str, clock: Clock) -> None:
        from slack_sdk.signature import SignatureVerifier

        self._clock = clock
        self._verifier = SignatureVerifier(secret, clock=self)  # type: ignore[arg-type]  # it asks for `now` alone
        self._seen = OrderedDict[str, float]()

    def now(self) -> float:
        return self._clock.now().timestamp()

    def check(self, request: Request, body: bytes) -> None:
        """Raise Unknown unless Slack has signed this, just now, and for the first time."""
        stamp = request.headers.get("x-slack-request-timestamp", "")
        signature = request.headers.get("x-slack-signature", "")
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 20 and signature.isascii()):
            raise Unknown("this is not signed by Slack", SIGNED)
        now_s = self.now()
        if not (_is_text(body) and self._verifier.is_valid(body, stamp, signature)):
            raise Unknown("this is not signed by Slack, or was too long ago", SIGNED)
        while self._seen and (
            now_s - next(iter(self._seen.values())) > 2 * SIGNED_WITHIN_S or len(self._seen) >= SEEN_MAX
        ):
            self._seen.popitem(last=False)
        if signature in self._seen:
            raise Unknown("this was here before", "press it again")
        self._seen[signature] = now_s


def _is_text(body: bytes) -> bool:
    """Slack's own verifier takes nothing else."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
