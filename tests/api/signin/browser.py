"""A browser, as far as signing in needs one."""

from __future__ import annotations

import http.client
import urllib.parse
from collections.abc import Mapping
from http.cookies import SimpleCookie
from typing import NamedTuple


class Page(NamedTuple):
    status: int
    location: str
    text: str


class Browser:
    """Keeps cookies, and follows nothing by itself."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}
        self.set: list[str] = []

    def get(self, url: str, form: Mapping[str, str] | None = None) -> Page:
        """What is there; with a form, what is answered to it."""
        parts = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        try:
            path = url.partition(f"{parts.netloc}")[2]
            if form is None:
                connection.request("GET", path, headers=cookie)
            else:
                kind = {"Content-Type": "application/x-www-form-urlencoded"}
                connection.request("POST", path, urllib.parse.urlencode(form), {**cookie, **kind})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        self.set = [value for name, value in answer.getheaders() if name.lower() == "set-cookie"]
        for one in self.set:
            for name, morsel in SimpleCookie(one).items():
                self.cookies[name] = morsel.value
        return Page(answer.status, answer.headers.get("Location", ""), text)


def went(base: str, browser: Browser, path: str = "/login/oidc") -> str:
    """Where the provider sends the browser back to, who has let it in there."""
    left = browser.get(base + path)
    assert left.status == 303, left
    return browser.get(left.location).location


def signed_in(base: str, browser: Browser) -> None:
    arrived = browser.get(went(base, browser))
    assert (arrived.status, arrived.location) == (303, "/"), arrived
