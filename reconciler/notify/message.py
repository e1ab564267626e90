"""From notices to what Slack is sent. Pure.

What comes from Git and from programs goes into `rich_text` blocks, where text is literal: no formatting, no
mention, no link, no emoji. `text` is what notifications show, and what stands in for the blocks elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from reconciler.model.notice import Notice

Json = str | bool | int | Sequence["Json"] | dict[str, "Json"]
Body = dict[str, Json]
"""The fields that `chat.postMessage`, `chat.update` and webhooks have in common."""

TITLE_CHARS_MAX = 200
SENTENCE_CHARS_MAX = 1_000
SENTENCES_MAX = 10
SUMMED_MAX = 40
SUMMED_CHARS_MAX = 300

MARKS = {
    "planned": "hourglass_flowing_sand",
    "waiting": "hourglass_flowing_sand",
    "preparing": "package",
    "applying": "gear",
    "verifying": "mag",
    "restoring": "rewind",
    "reverting": "rewind",
    "succeeded": "white_check_mark",
    "reverted": "rewind",
    "restored": "rewind",
    "superseded": "fast_forward",
    "cancelled": "no_entry_sign",
    "stuck": "rotating_light",
}
SEVERITY_MARKS = {"info": "information_source", "warning": "warning", "person": "rotating_light"}

MENTION = re.compile(r"@(?=channel\b|here\b|everyone\b)", re.IGNORECASE)


def headline(notices: Sequence[Notice], buttons: Json | None = None) -> Body:
    """The message of an upgrade, as of the last notice, with a block of buttons below."""
    newest = notices[-1]
    return _message(mark(newest), _title(newest), [newest.sentence], buttons)


def alone(notice: Notice) -> Body:
    """A notice that belongs to no thread."""
    return headline([notice])


def transition(notices: Sequence[Notice]) -> Body:
    """All notices in one message, for where messages cannot be edited and have no thread."""
    newest = notices[-1]
    return _message(mark(newest), _title(newest), [notice.sentence for notice in notices[-SENTENCES_MAX:]])


def plain(notices: Sequence[Notice]) -> tuple[str, str]:
    """A title and a text for where there is nothing but text; what escapes it is whoever sends it."""
    newest = notices[-1]
    lines = [f"{one.at:%Y-%m-%d %H:%M:%S} UTC  {one.sentence}" for one in notices[-SENTENCES_MAX:]]
    body = "\n".join(readable(line, SENTENCE_CHARS_MAX) for line in lines)
    called = "A person is needed: " if newest.severity == "person" else ""
    return readable(f"{called}{_title(newest)}".replace("\n", " "), TITLE_CHARS_MAX), body


def digest(notices: Sequence[Notice]) -> Body:
    """Many notices in one message: of each upgrade the newest, of the others each."""
    title, lines = _summed(notices)
    return _message(SEVERITY_MARKS["info"], title, lines)


def plain_digest(notices: Sequence[Notice]) -> tuple[str, str]:
    """The same where there is nothing but text."""
    title, lines = _summed(notices)
    return title, "\n".join(readable(line, SENTENCE_CHARS_MAX) for line in lines)


def _summed(notices: Sequence[Notice]) -> tuple[str, list[str]]:
    newest = {notice.operation or f" {number}": notice for number, notice in enumerate(notices)}
    shown = [*newest.values()][-SUMMED_MAX:]
    more = len(newest) - len(shown)
    left = [f"and {more} more: see `ugs history`"] if more else []
    title = f"{len(notices)} notices since {min(notice.at for notice in notices):%H:%M} UTC"
    return title, [
        *(f"{one.at:%H:%M:%S} UTC  {readable(one.sentence, SUMMED_CHARS_MAX)}" for one in shown),
        *left,
    ]


def reply(notice: Notice, *, mention: str = "") -> Body:
    """One line of a thread, with the time at which it was so, which may be long before it is read. `mention`: the id
    of somebody who is called by it."""
    section: Json = {"type": "rich_text_section", "elements": [{"type": "user", "user_id": mention}]}
    called: Json = {"type": "rich_text", "elements": [section]}
    lines = [f"{notice.at:%H:%M:%S} UTC  {notice.sentence}"]
    return _message(mark(notice), "", lines, called if mention else None)


def mark(notice: Notice) -> str:
    """The name of the emoji that leads the message."""
    if notice.severity == "person":
        return SEVERITY_MARKS["person"]
    return MARKS.get(notice.phase, SEVERITY_MARKS[notice.severity])


def _title(notice: Notice) -> str:
    title = notice.title or ": ".join(filter(None, (notice.environment, notice.service)))
    return f"{title} — {notice.phase}" if notice.phase else title


def _message(emoji: str, title: str, sentences: Sequence[str], more: Json | None = None) -> Body:
    head = readable(title, TITLE_CHARS_MAX)
    body = "\n".join(filter(None, (readable(sentence, SENTENCE_CHARS_MAX) for sentence in sentences)))
    elements: list[Json] = [{"type": "emoji", "name": emoji}]
    if head:
        elements.append({"type": "text", "text": f" {head}", "style": {"bold": True}})
    if body:
        elements.append({"type": "text", "text": f"\n{body}" if head else f" {body}"})
    blocks: list[Json] = [
        {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": elements}]}
    ]
    return {
        "text": f":{emoji}: " + escaped("\n".join(filter(None, (head, body)))),
        "blocks": [*blocks, more] if more else blocks,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def readable(text: str, chars_max: int) -> str:
    """Without control and direction characters, and at most `chars_max` long."""
    shown = "".join(each if each.isprintable() or each == "\n" else " " for each in text).strip()
    return shown if len(shown) <= chars_max else shown[: chars_max - 1] + "…"


def escaped(text: str) -> str:
    """The text without anything that Slack would read as a link or a mention."""
    entities = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return MENTION.sub("@\N{WORD JOINER}", entities)
