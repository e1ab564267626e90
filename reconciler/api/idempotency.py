"""`Idempotency-Key`: a request that is sent again, since nobody knows whether the first arrived, is carried out once.

The answer is kept for a day, by caller and key, with the digest of what was asked; it outlives the daemon. What may
be tried again (429, 503) or never began is not kept. An answer with a secret in it is not kept either: who asks
again learns that it was given.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from reconciler.api.answer import Detailed
from reconciler.api.endpoint import BadRequest
from reconciler.engine import people
from reconciler.model.codec import encode
from reconciler.model.errors import TransientError, UgsError
from reconciler.model.rights import Caller
from reconciler.store import Store
from reconciler.store.answers import GivenAnswer

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
SANE = re.compile(r"[!-~]{1,100}")
BODY_CHARS_MAX = 16_000
"""A longer answer is not kept, and the key not either."""


class Unfinished(TransientError):
    """It takes too long to be waited for, and goes on."""


class Interrupted(people.Conflict):
    """Nobody knows whether the first request was carried out."""

    kind = "idempotency-interrupted"


class Reused(Detailed):
    """The same key with another request."""


class Idempotency:
    """What is being worked out under a key at this moment, and what was."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._working: dict[tuple[str, str], asyncio.Event] = {}

    async def once(
        self,
        request: Request,
        caller: Caller,
        asked: object,
        work: Callable[[], Awaitable[Response]],
        *,
        secret: bool = False,
    ) -> Response:
        """The answer that `work` gives, or gave the first time. Raises BadRequest, Reused and Interrupted."""
        key = request.headers.get(HEADER)
        if key is None:
            return await work()
        if not SANE.fullmatch(key):
            raise BadRequest(f"{HEADER} has 1 to 100 printable characters", "send a UUID, for example")
        who = f"{'token' if caller.token else 'name'} {caller.token or caller.name}"
        digest = hashlib.sha256(f"{request.method} {request.url.path}\n".encode() + encode(asked)).hexdigest()
        while (running := self._working.get((who, key))) is not None:
            await running.wait()
        if known := self._store.begin_answer(who, key, digest):
            return _replayed(known, digest)
        done = self._working[who, key] = asyncio.Event()
        try:
            said = await self._worked(who, key, work, secret=secret)
        finally:
            del self._working[who, key]
            done.set()
        return said

    async def _worked(
        self, who: str, key: str, work: Callable[[], Awaitable[Response]], *, secret: bool
    ) -> Response:
        try:
            said = await work()
        except Unfinished:
            raise
        except UgsError:
            self._store.forget_answer(who, key)  # nothing was done, so that it may be asked again
            raise
        if len(said.body) > BODY_CHARS_MAX:
            self._store.forget_answer(who, key)
        else:
            body = "" if secret else bytes(said.body).decode()
            self._store.end_answer(who, key, said.status_code, body)
        return said


def _replayed(known: GivenAnswer, digest: str) -> Response:
    if known.request != digest:
        raise Reused(
            "this key was used for another request", "send another key", kind="idempotency-key-reused"
        )
    if known.status is None:
        raise Interrupted(
            "the daemon ended while it answered this request, so that nobody knows what came of it",
            "look at /upgrade/status and /audit, and ask anew with another key",
        )
    if not known.body:
        raise people.Conflict(
            "this was done, and its answer had a secret in it, which is kept nowhere",
            "revoke what was made, and ask anew with another key",
        )
    return Response(known.body, known.status, {REPLAYED: "true"}, "application/json")
