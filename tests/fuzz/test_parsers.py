"""Whatever is read from outside: a value, or an error that says where; never another exception.

`make fuzz EXAMPLES=100000` tries more.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Struct

from reconciler import config
from reconciler.drivers.mark import Mark
from reconciler.git.notes import united
from reconciler.model import cron, splice
from reconciler.model.document import dotted, seconds
from reconciler.model.document import read as read_document
from reconciler.model.errors import UgsError
from reconciler.model.expiry import expiry
from reconciler.model.range import Range
from reconciler.model.snapshot import Cache, Snapshot
from reconciler.model.snapshot import read as read_snapshot
from reconciler.model.target import Target
from reconciler.model.version import Version
from tests.fuzz.damage import TOKENS, corpus, damaged

NOW = datetime(2026, 11, 2, tzinfo=UTC)
MANIFESTS = corpus("releases", "environments")
ENVIRONMENTS = corpus("environments")
SETTINGS = corpus("ugs.yaml")
WORDS = st.lists(
    st.one_of(st.sampled_from([token.decode("utf-8", "replace") for token in TOKENS]), st.text(max_size=6)),
    max_size=8,
).map("".join)
RANGES = st.lists(
    st.sampled_from([*"^~<>=|xX*. -+v", "1", "0", "10", "||", " - ", ">=", "1.2.3", "-rc.1", "+b"]),
    max_size=12,
)
CRONS = st.lists(
    st.sampled_from(
        [*"*/,-#L ", "0", "5", "59", "60", "31", "MON", "jan", "6#1", "5L", "@daily", "R", "H", "?"]
    ),
    max_size=14,
)


class File(Struct, frozen=True):
    path: str
    data: bytes
    mode: str = "100644"

    @property
    def oid(self) -> str:
        return hashlib.sha1(self.data).hexdigest()

    @property
    def size(self) -> int:
        return len(self.data)


def snapshot(*files: File) -> Snapshot:
    blobs = {file.oid: file.data for file in files}
    return read_snapshot("0" * 40, files, blobs.__getitem__, Cache(), lambda _path: iter(()))


def test_the_corpus_is_there_and_sound() -> None:
    assert len(ENVIRONMENTS) > 5
    assert len(SETTINGS) > 1
    for path, data in MANIFESTS:
        assert read_document(data, path).data


@pytest.mark.fault("HR-07", "YM-01", "YM-02", "YM-03", "YM-04", "YM-07", "YM-08", "YM-09")
@given(st.lists(damaged(MANIFESTS), min_size=1, max_size=3, unique_by=lambda one: one[0]))
@example([("releases/orders/2.1.0.yaml", "\U00040000service: orders\n".encode())])
def test_a_repository_is_always_read_and_what_is_wrong_has_its_place(files: list[tuple[str, bytes]]) -> None:
    found = snapshot(*(File(path, data) for path, data in files))
    for problem in found.problems:
        assert problem.place.line >= 1
        assert problem.place.column >= 1
        assert problem.message
        assert problem.remedy
        assert str(problem).isprintable()


@given(damaged(SETTINGS))
def test_a_configuration_is_taken_or_refused(file: tuple[str, bytes]) -> None:
    with contextlib.suppress(UgsError):
        config.parse(read_document(file[1], file[0]), Path("/etc/ugs/ugs.yaml"), {})


@given(
    damaged(ENVIRONMENTS),
    st.sampled_from(["api", "web", "", "a: b", "x" * 300]),
    st.sampled_from(['"1.5.0"', '{"version":"2.0.0"}']),
)
@example(("environments/production.yaml", b"? \n"), "api", '"1.5.0"')
def test_a_pin_is_set_and_removed_or_the_file_refused(
    file: tuple[str, bytes], service: str, node: str
) -> None:
    path, data = file
    edits = (
        partial(splice.set_pin, node=node),
        splice.remove_pin,
        partial(splice.set_version, version="9.9.9"),
    )
    for edit in edits:
        try:
            edited = edit(data, path, service)
        except UgsError:  # also where no text would say that and nothing else
            continue
        # What says `pins:` and nothing more has none.
        before, after = (read_document(text, path).data.get("pins") or {} for text in (data, edited))
        others = [pin for pin in before | after if pin != service]
        assert [before.get(pin) for pin in others] == [after.get(pin) for pin in others]


@given(RANGES.map("".join) | WORDS)
def test_a_range_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(Range.parse(text).contains(Version("1.2.3")), bool)


@given(CRONS.map("".join) | WORDS)
def test_a_cron_line_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        schedule = cron.parse(text)
        found = cron.next_match(schedule, NOW.replace(tzinfo=None))
        assert found is None or schedule.matches(found)


@given(WORDS | st.from_regex(r"[0-9]{1,400}(ms|s|m|h|d)?", fullmatch=True))
def test_a_duration_a_version_and_an_instant_are_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 0 <= seconds(text) <= 366 * 86400
    with contextlib.suppress(ValueError):
        assert str(Version(text)) == text
    with contextlib.suppress(ValueError):
        assert str(Target.parse(text)) == text
    with contextlib.suppress(ValueError):
        assert expiry(text, None, now=NOW) is not None
    mark = Mark.parse(text)
    assert mark is None or str(mark) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
)


@given(
    st.lists(
        st.binary(max_size=30) | JSON.map(lambda value: json.dumps({"operation": value}).encode()), max_size=6
    )
)
def test_notes_of_whoever_are_united_without_loss(lines: list[bytes]) -> None:
    kept = united(lines)
    assert set(kept) <= set(lines)
    assert united(kept, kept) == kept


@given(st.lists(st.integers(0, 99) | st.text(max_size=30), max_size=6))
def test_a_path_is_always_tellable(path: list[int | str]) -> None:
    assert isinstance(dotted(tuple(path)), str)
