"""Somebody with a browser that runs no script: cookies are kept, redirects are seen, forms are sent as they stand."""

from __future__ import annotations

import http.client
import re
from collections.abc import Mapping
from html import unescape
from http.cookies import SimpleCookie
from urllib.parse import urlencode

TIMEOUT_S = 30


class Page:
    """One answer, with the text of its body."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.text = answer.read().decode()

    @property
    def to(self) -> str:
        """Where it leads; empty where it stays."""
        return self.headers.get("Location", "")

    @property
    def words(self) -> str:
        """What is read on it, without what is only markup."""
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", self.text)).split())

    @property
    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([0-9a-f]{64})"', self.text)
        assert found, self.text
        return found[1]


class Visitor:
    """One browser, towards one daemon."""

    def __init__(self, port: int, token: str | None = None) -> None:
        self.port = port
        self.cookies: dict[str, str] = {}
        if token is not None:
            assert self.post("/login", {"token": token, "next": "/"}).to == "/"

    def get(self, path: str, headers: Mapping[str, str] = {}) -> Page:
        return self._ask("GET", path, None, headers)

    def post(self, path: str, fields: Mapping[str, str], headers: Mapping[str, str] = {}) -> Page:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._ask("POST", path, urlencode(fields), {**kind, **headers})

    def _ask(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Page:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        own = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        try:
            connection.request(method, path, body, {**(own if self.cookies else {}), **headers})
            answer = connection.getresponse()
            for text in answer.headers.get_all("Set-Cookie", []):
                for name, morsel in SimpleCookie(text).items():
                    self.cookies[name] = morsel.value
            return Page(answer)
        finally:
            connection.close()
