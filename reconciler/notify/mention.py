"""Who in Slack wrote a commit, so that a message about its failure can mention him. Never in a message's way."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping

from reconciler.model.errors import UgsError
from reconciler.notify.sender import Undelivered
from reconciler.notify.slack_web import SlackWeb

log = logging.getLogger("ugs")
KNOWN_MAX = 1_000
ID = re.compile(r"[UW][A-Z0-9]{2,20}")
ADDRESS = re.compile(r"[^\s<>@]{1,64}@[^\s<>@]{1,190}")
UNKNOWN = "users_not_found"


class Authors:
    """`known`: ids by address. `email_of`: whose commit a revision is; it may block. `lookup`: ask Slack for others."""

    def __init__(
        self, web: SlackWeb, known: Mapping[str, str], email_of: Callable[[str], str], *, lookup: bool = False
    ) -> None:
        self._web = web
        self._known = {address.casefold(): who for address, who in known.items()}
        self._email_of = email_of
        self._lookup = lookup
        self._found = OrderedDict[str, str]()
        self._said = ""

    async def id_of(self, revision: str) -> str:
        """The id of whoever wrote a commit; empty where that is not known, or cannot be told now."""
        try:
            address = (await asyncio.to_thread(self._email_of, revision)).casefold()
        except UgsError as error:
            log.info("the author of %s is not mentioned: %s", revision[:12], error)
            return ""
        known = self._known.get(address, self._found.get(address))
        if known is not None or not (self._lookup and ADDRESS.fullmatch(address)):
            return known or ""
        return await self._asked(address)

    async def _asked(self, address: str) -> str:
        try:
            said = await self._web.call("users.lookupByEmail", {"email": address}, query=True)
        except Undelivered as error:
            if UNKNOWN not in str(error):
                if self._said != str(error):
                    log.warning("authors are not mentioned: %s", error)
                self._said = str(error)
                return ""
            said = {}
        user = said.get("user")
        found = str(user.get("id", "")) if isinstance(user, dict) else ""
        self._found[address] = found if ID.fullmatch(found) else ""
        while len(self._found) > KNOWN_MAX:
            self._found.popitem(last=False)
        return self._found[address]
