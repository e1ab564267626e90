"""What a dialect is, and what several of them say alike."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.forge.server import ForgeServer

AT = "2026-11-28T10:00:00Z"
Said = dict[str, Any]
Handle = Callable[["ForgeServer", re.Match[str], dict[str, str], Said], "Answer"]


@dataclass
class Answer:
    status: int
    body: Any = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Dialect:
    prefix: str
    knows: Callable[[ForgeServer, dict[str, str]], bool]
    routes: list[tuple[str, str, Handle]]
    refusal: Callable[[Any], Any] = lambda body: body
    """A refusal as this forge writes it."""

    def answer(self, forge: ForgeServer, method: str, path: str, query: dict[str, str], said: Said) -> Answer:
        for verb, pattern, handle in self.routes:
            if verb == method and (match := re.fullmatch(pattern, path)):
                try:
                    return handle(forge, match, query, said)
                except KeyError:  # a number that it does not know
                    break
        return Answer(404, {"message": "Not Found"})


def page(found: list[Any], query: dict[str, str], size: str = "per_page") -> list[Any]:
    count, number = int(query.get(size, 30)), int(query.get("page", 1))
    return found[(number - 1) * count : number * count]


def comments(forge: ForgeServer, match: re.Match[str], query: dict[str, str], _: Said) -> Answer:
    found = [{"id": key, "body": body} for key, body in forge.pulls[int(match[1])].comments.items()]
    return Answer(200, page(found, query) if query else found)


def comment(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    forge.pulls[int(match[1])].comments[number := forge.number()] = said["body"]
    return Answer(201, {"id": number})


def edit_comment(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    for pull in forge.pulls.values():
        if (number := int(match["comment"])) in pull.comments:
            pull.comments[number] = said["body"]
            return Answer(200, {"id": number})
    return Answer(404, {"message": "Not Found"})


def status(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    known = forge.statuses.setdefault((match[1], said["context"]), [])
    known.append((said["state"], said["description"]))
    return Answer(201, {"id": forge.number()})
