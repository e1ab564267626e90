"""Slack, as a bot (one message an upgrade, edited in place, details in its thread) or through a webhook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reconciler.model.notice import Notice
from reconciler.notify import buttons, message
from reconciler.notify.mention import Authors
from reconciler.notify.sender import Teller, Thread, Undelivered
from reconciler.notify.slack_web import (
    REQUEST_TIMEOUT_S,
    Gone,
    SlackWeb,
    failure,
    silent,
    unreachable,
    unreadable,
)

if TYPE_CHECKING:
    from slack_sdk.webhook.async_client import AsyncWebhookClient


class SlackBot:
    """`channel`: a name such as `#deploys`, or an id. `pressable`: somebody hears when a button is pressed.
    `authors`: who is mentioned when what he pinned fails."""

    def __init__(
        self, web: SlackWeb, channel: str, *, pressable: bool = False, authors: Authors | None = None
    ) -> None:
        self._web = web
        self._channel = channel
        self._pressable = pressable
        self._authors = authors

    async def show(self, notices: Sequence[Notice], thread: Thread | None) -> Thread:
        body = message.headline(notices, buttons.of(notices[-1]) if self._pressable else None)
        if thread is None:
            return await self._post(body)
        try:
            await self._call("chat.update", body, channel=thread.channel, ts=thread.ts)
        except Gone:
            # Someone deleted it, or Slack no longer lets it be edited: go on in a new one.
            return await self._post(body)
        return thread

    async def tell(self, notice: Notice, thread: Thread | None) -> None:
        if thread is None:
            await self._post(message.alone(notice))
            return
        called = notice.severity != "info" and notice.revision
        author = await self._authors.id_of(notice.revision) if self._authors and called else ""
        try:
            await self._reply(notice, thread, author)
        except Undelivered as error:
            if not author or "invalid_blocks" not in error.message:
                raise
            await self._reply(notice, thread, "")  # nobody of this id may be mentioned there

    async def _reply(self, notice: Notice, thread: Thread, author: str) -> None:
        await self._call(
            "chat.postMessage",
            message.reply(notice, mention=author),
            channel=thread.channel,
            thread_ts=thread.ts,
            reply_broadcast=notice.severity == "person",
        )

    async def sum_up(self, notices: Sequence[Notice]) -> None:
        await self._post(message.digest(notices))

    async def _post(self, body: message.Body) -> Thread:
        return await self._call("chat.postMessage", body, channel=self._channel)

    async def _call(self, method: str, body: message.Body, **fields: message.Json) -> Thread:
        """Where the message stands now: Slack answers with the channel's id, which alone serves for edits."""
        said = await self._web.call(method, {**body, **fields})
        channel, ts = said.get("channel"), said.get("ts")
        if not isinstance(channel, str) or not isinstance(ts, str):
            raise unreadable()
        return Thread(channel, ts)


class SlackWebhook(Teller):
    """An incoming webhook can neither edit nor reply."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def say(self, notices: Sequence[Notice]) -> None:
        await self._send(message.transition(notices))

    async def sum_up(self, notices: Sequence[Notice]) -> None:
        await self._send(message.digest(notices))

    async def _send(self, body: message.Body) -> None:
        import aiohttp

        try:
            answer = await self._client().send_dict(body)
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(error) from None
        if answer.status_code != 200:
            raise failure(answer.status_code, answer.body.strip(), answer.headers)
        if answer.body.strip() != "ok":
            raise unreadable()

    def _client(self) -> AsyncWebhookClient:
        from slack_sdk.webhook.async_client import AsyncWebhookClient

        client = AsyncWebhookClient(self._url, timeout=REQUEST_TIMEOUT_S, logger=silent, retry_handlers=[])
        client.proxy = None
        return client
