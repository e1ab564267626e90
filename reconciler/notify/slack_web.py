"""Slack's Web API: one call, and what each answer means.

Nothing here waits for Slack to be well again: every failure is an `Undelivered` that says when to come back.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reconciler.notify.sender import Undelivered

if TYPE_CHECKING:
    from slack_sdk.errors import SlackApiError
    from slack_sdk.web.async_client import AsyncWebClient

API = "https://slack.com/api/"
REQUEST_TIMEOUT_S = 10
RATE_LIMIT_DEFAULT_S = 30.0
RATE_LIMIT_MAX_S = 3600.0
REFUSED_RETRY_S = 600.0

REMEDIES = {
    "account_inactive": "put the token of an active bot in place",
    "channel_is_archived": "unarchive the channel or name another in notify.slack",
    "channel_not_found": "check notify.slack.channel and invite the bot to it",
    "invalid_auth": "put a valid bot token in place",
    "invalid_token": "put the webhook's current URL in place",
    "is_archived": "unarchive the channel or name another in notify.slack",
    "missing_scope": "give the bot the scope chat:write",
    "no_service": "put the webhook's current URL in place",
    "not_authed": "put a valid bot token in place",
    "not_in_channel": "invite the bot to the channel",
    "token_expired": "put a valid bot token in place",
    "token_revoked": "put a valid bot token in place",
}
"""What to do where Slack refuses, and would refuse every other message too."""

PASSING = frozenset({"fatal_error", "internal_error", "request_timeout", "service_unavailable"})
GONE = frozenset({"cant_update_message", "edit_window_closed", "message_not_found"})
CODE = re.compile(r"[a-z_]{1,60}")

# The library logs webhook URLs, which are secrets, when it is asked for details. It is never asked.
silent = logging.Logger("slack_sdk", level=logging.CRITICAL + 1)


class SlackWeb:
    """`api`: the base URL of the Web API."""

    def __init__(self, token: str, *, api: str = API) -> None:
        self._token = token
        self._api = api

    async def call(self, method: str, fields: Mapping[str, Any], *, query: bool = False) -> dict[str, Any]:
        """What Slack answers. `query`: the method takes no JSON. Raises Undelivered."""
        import aiohttp
        from slack_sdk.errors import SlackApiError

        client = self._client()
        try:
            if query:
                response = await client.api_call(method, http_verb="GET", params=dict(fields))
            else:
                response = await client.api_call(method, json=dict(fields))
        except SlackApiError as error:
            raise _refused(error) from None
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(error) from None
        except (AttributeError, ValueError):  # so the library meets an answer that is not a JSON object
            raise unreadable() from None
        if not isinstance(response.data, dict):
            raise unreadable()
        return response.data

    def _client(self) -> AsyncWebClient:
        from slack_sdk.web.async_client import AsyncWebClient

        client = AsyncWebClient(
            token=self._token,
            base_url=self._api,
            timeout=REQUEST_TIMEOUT_S,
            logger=silent,
            retry_handlers=[],
        )
        client.proxy = None  # it was read from the environment, which is not ours to obey
        return client


class Gone(Undelivered):
    """The message to edit is no longer there."""


def _refused(error: SlackApiError) -> Undelivered:
    # Where the body is not JSON, the response is aiohttp's own.
    status = getattr(error.response, "status_code", None) or error.response.status
    body = getattr(error.response, "data", None)
    code = body.get("error", "") if isinstance(body, dict) else ""
    return failure(int(status), str(code), error.response.headers)


def failure(status: int, code: str, headers: Mapping[str, str]) -> Undelivered:
    """What an answer other than success means. `code` is Slack's word for it, if it is one."""
    if status == 429 or code in ("ratelimited", "rate_limited"):
        retry_s = _retry_after_s(headers)
        return Undelivered(f"Slack asks to wait {retry_s:g} s", retry_s=retry_s, whole_channel=True)
    if status >= 500 or code in PASSING:
        return Undelivered(f"Slack answered {status}{f' {code}' if CODE.fullmatch(code) else ''}")
    if code in GONE:
        return Gone(f"Slack refuses: {code}", retry_s=REFUSED_RETRY_S)
    if not CODE.fullmatch(code):
        return unreadable(status)
    return Undelivered(
        f"Slack refuses: {code}",
        REMEDIES.get(code, "look the word up in Slack's documentation of chat.postMessage"),
        retry_s=REFUSED_RETRY_S,
        whole_channel=code in REMEDIES,
    )


def unreachable(error: Exception) -> Undelivered:
    """Named by kind: the error's own text may hold the URL."""
    cause = getattr(error, "strerror", None) or type(error).__name__
    return Undelivered(f"Slack cannot be reached: {cause}", whole_channel=True)


def unreadable(status: int = 200) -> Undelivered:
    return Undelivered(
        f"what answers {status} is not Slack",
        "check notify.slack (api, webhook), and whether a proxy stands between",
        retry_s=REFUSED_RETRY_S,
        whole_channel=True,
    )


def _retry_after_s(headers: Mapping[str, str]) -> float:
    try:
        return min(max(int(headers.get("Retry-After", "")), 1), RATE_LIMIT_MAX_S)
    except ValueError:  # there is none, or it is a date
        return RATE_LIMIT_DEFAULT_S
