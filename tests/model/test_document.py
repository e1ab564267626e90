"""Bytes from outside: a document with every value's place, or a refusal that says where, and at once."""

from __future__ import annotations

import json
import time
from pathlib import Path as File

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.document import SIZE_BYTES_MAX, Document, Path, dotted, read, seconds
from reconciler.model.errors import InputError, Place, Problem
from reconciler.model.node import DEPTH_MAX, NODES_MAX, Node

FILE = "environments/production.yaml"
INSTANTLY_S = 0.25
"""Fifty milliseconds on a quiet machine; the slack is for a busy one. Unbounded, these take 6 to 11 s."""


def refused(data: bytes | str) -> Problem:
    """The one problem of a document, which never repeats what stands in the file at length."""
    with pytest.raises(InputError) as caught:
        read(data.encode() if isinstance(data, str) else data, FILE)
    (problem,) = caught.value.problems
    assert problem.place.file == FILE
    assert problem.remedy
    assert len(str(problem)) < 250
    return problem


def refused_at_once(data: bytes | str) -> Problem:
    started_s = time.process_time()
    problem = refused(data)
    assert time.process_time() - started_s < INSTANTLY_S
    return problem


# What is read


def test_scalars_stay_text_unless_they_are_plainly_something_else() -> None:
    document = read(
        b"""\
whole: 42
negative: -7
decimal: 1.10
yes: true
no: false
nothing: null
tilde: ~
empty:
norway: NO
word: "true"
date: 2026-12-20
clock: 12:30:00
octal: 012
exponent: 12e3456
hex: 0x1F
version: 1.5.0
list: [1, "1", one]
text: |
  two
  lines
""",
        FILE,
    )
    assert document.data == {
        "whole": 42,
        "negative": -7,
        "decimal": 1.1,
        "yes": True,
        "no": False,
        "nothing": None,
        "tilde": None,
        "empty": None,
        "norway": "NO",
        "word": "true",
        "date": "2026-12-20",
        "clock": "12:30:00",
        "octal": "012",
        "exponent": "12e3456",
        "hex": "0x1F",
        "version": "1.5.0",
        "list": [1, "1", "one"],
        "text": "two\nlines\n",
    }


def test_every_value_and_key_knows_its_place() -> None:
    document = read(b"# above\npins:\n  \"api\": '1.10'\n  web: {version: 1.20, ports: [80, 81]}\n", FILE)
    assert document.place(("pins", "api")) == Place(FILE, 3, 10)
    assert document.key_place(("pins", "api")) == Place(FILE, 3, 3)
    assert document.place(("pins", "web", "ports", 1)) == Place(FILE, 4, 36)
    assert document.key_place(("pins", "web", "ports", 1)) == Place(FILE, 4, 36)
    assert document.place(("pins", "web", "missing", "deeper")) == document.place(("pins", "web"))
    assert document.quoted(("pins", "api"))
    assert not document.quoted(("pins", "web", "version"))
    assert document.raw(("pins", "web", "version")) == "1.20"


def test_places_count_characters_also_past_emoji_and_windows_line_endings() -> None:
    document = read("a: 'Grüße 😀'  # 😀\r\nb: {c: d}\r\n".encode(), FILE)
    assert document.raw(("a",)) == "'Grüße 😀'"
    assert document.place(("b", "c")) == Place(FILE, 2, 8)
    assert document.raw(("b", "c")) == "d"


def test_a_block_ends_with_its_last_value_and_not_with_the_comments_behind_it() -> None:
    document = read(b"a:\n  b: 1\n  c: x # why\n\n# about d\nd: 2\n", FILE)
    assert document.raw(("a",)) == "b: 1\n  c: x"


def test_paths_are_written_for_people() -> None:
    assert dotted(("health", "probes", 0, "http")) == "health.probes[0].http"
    assert dotted(()) == ""
    assert dotted(("x" * 100,)) == "x" * 57 + "..."


@pytest.mark.parametrize(
    ("text", "duration_s"),
    [("500ms", 0.5), ("30s", 30.0), ("5m", 300.0), ("4h", 14_400.0), ("7d", 604_800.0), ("0s", 0.0)],
)
def test_durations_become_seconds(text: str, duration_s: float) -> None:
    assert seconds(text) == duration_s


@pytest.mark.parametrize(
    "text", ["", "5", "5 m", "-5m", "1.5h", "05m", "5m\n", "9999999999s", "367d", "٣s", "5M"]
)
def test_nonsense_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds(text)


# The catalogue of hostile files


@pytest.mark.fault("YM-01")
def test_ym01_an_unquoted_version_keeps_its_text_so_that_it_can_be_refused() -> None:
    document = read(b"version: 1.10\n", FILE)
    assert not document.quoted(("version",))
    assert document.raw(("version",)) == "1.10"


@pytest.mark.fault("YM-02")
@pytest.mark.parametrize("directive", ["%YAML 1.1", "%TAG ! tag:x,2000:", "%SOMETHING else"])
def test_ym02_directives_are_refused(directive: str) -> None:
    assert refused_at_once(f"{directive}\n---\nnorway: NO\n").place.line == 1


@pytest.mark.fault("YM-03")
@pytest.mark.parametrize("text", ["a: 1\na: 2\n", "1: x\n'1': y\n", "p: {a: 1, b: 2, a: 3}\n"])
def test_ym03_a_key_that_stands_twice_is_refused_with_both_lines(text: str) -> None:
    problem = refused_at_once(text)
    assert "stands twice" in problem.message
    assert "in line 1" in problem.remedy


@pytest.mark.fault("YM-03")
def test_ym03_merge_keys_are_refused_and_a_quoted_one_is_a_key() -> None:
    assert refused_at_once("a: {x: 1}\nb:\n  <<: {x: 2}\n").message == "merge keys are not allowed"
    assert read(b"'<<': 1\n", FILE).data == {"<<": 1}


@pytest.mark.fault("YM-04")
@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("a: &x 1\n", 4),
        ("a: &a [*a]\n", 4),
        ("a: *x\n", 4),
        ("&k a: 1\n", 1),
        ("? &k [a]\n: 1\n", 3),
        ("a: &x {b: 1}\n", 4),
    ],
)
def test_ym04_anchors_and_aliases_are_refused(text: str, column: int) -> None:
    problem = refused_at_once(text)
    assert problem.message == "anchors and aliases are not allowed"
    assert problem.place.column == column


@pytest.mark.fault("YM-04")
def test_ym04_an_alias_bomb_is_refused_at_its_first_anchor() -> None:
    lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10))]
    assert refused_at_once("\n".join(lines) + "\n").place == Place(FILE, 1, 5)


@pytest.mark.fault("YM-05")
@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 2000 + "\n",
        "a: " + "{b: " * 2000 + "\n",
        "a:\n" + "- " * 2000 + "x\n",
        "\n".join(" " * i + "a:" for i in range(1000)) + "\n",
        "a: " + "[" * 2000 + "]" * 2000 + "\n",
        "? " * 2000 + "\n",
    ],
)
def test_ym05_deep_nesting_is_refused_at_once(text: str) -> None:
    refused_at_once(text)


def test_ym05_the_deepest_nesting_that_is_allowed() -> None:
    deepest = "a: " + "[" * (DEPTH_MAX - 2) + "x" + "]" * (DEPTH_MAX - 2) + "\n"
    assert read(deepest.encode(), FILE)
    assert "nests deeper" in refused(deepest.replace("x", "[x]")).message


@pytest.mark.fault("YM-06")
def test_ym06_a_file_above_a_mebibyte_is_refused_unparsed() -> None:
    assert "larger than" in refused_at_once(b"a: '" + b"x" * 10_000_000 + b"'\n").message
    largest = b"a: " + b"x" * (SIZE_BYTES_MAX - 4) + b"\n"
    assert len(read(largest, FILE).data["a"]) == SIZE_BYTES_MAX - 4


@pytest.mark.fault("YM-06")
def test_ym06_more_values_than_anybody_needs_are_refused() -> None:
    assert "more than" in refused("a:\n" + "- b\n" * (NODES_MAX + 1)).message


@pytest.mark.fault("YM-07")
@pytest.mark.parametrize(
    "value",
    ["!!python/object/apply:os.system ['id']", "!foo x", "!!binary aGk=", "!!str 1", "! x", "!!map {}"],
)
def test_ym07_tags_are_refused(value: str) -> None:
    assert refused_at_once(f"a: {value}\n").message == "tags are not allowed"


@pytest.mark.fault("YM-08")
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: 1\n---\nb: 2\n", "more than one document"),
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"# nothing but a comment\n", "empty"),
        (b"---\n", "must hold a mapping"),
        (b"word\n", "must hold a mapping"),
        (b"- a\n", "must hold a mapping"),
        (b"\xef\xbb\xbfa: 1\n", "byte order mark"),
        ("a: 1\n".encode("utf-16"), "not UTF-8"),
        ("a: 1\n".encode("utf-16-le"), "U+0000"),
        (b"a: \xff\n", "not UTF-8"),
        (b"a: x\0y\n", "U+0000"),
        ("a: \u202egnp.exe\n".encode(), "U+202E"),
        ("a: x\u200by\n".encode(), "U+200B"),
        ("a: x\u2066y\n".encode(), "U+2066"),
        ("a: \ufeffy\n".encode(), "U+FEFF"),
        ("a: x\u2028b: y\n".encode(), "U+2028"),
        ("a: x\x85b: y\n".encode(), "U+0085"),
        (b"a: x\rb: y\n", "U+000D"),
        (b"a: \x1b[31m\n", "U+001B"),
        (b'a: "\\0"\n', "stands for an invisible character"),
        (b'a: "\\u202E"\n', "stands for an invisible character"),
        (b'"\\u200B": 1\n', "stands for an invisible character"),
        (b'a: "\\ud800"\n', "not YAML"),
        (b"? [a]\n: 1\n", "a key must be a word"),
    ],
)
def test_ym08_what_is_no_plain_document_is_refused(data: bytes, message: str) -> None:
    assert message in refused_at_once(data).message


def test_ym08_the_place_of_an_invisible_character_is_exact() -> None:
    assert refused("a: 1\nbc: x\u200by\n").place == Place(FILE, 2, 6)
    assert refused(b"a: 1\nb: 2\nc: \xff\n").place.line == 3


@pytest.mark.fault("YM-09")
@pytest.mark.parametrize(
    "value", ["9" * 5000, "-" + "9" * 5000, "1" * 19, ".nan", ".inf", "-.INF", "1.", ".5", "0." + "1" * 99]
)
def test_ym09_numbers_that_cannot_be_used_are_refused(value: str) -> None:
    problem = refused_at_once(f"a: {value}\n")
    assert problem.message == "this number cannot be used"
    assert read(f'a: "{value}"\n'.encode(), FILE).data == {"a": value}


@pytest.mark.fault("HR-07")
def test_hr07_a_file_that_is_cut_off_within_a_line_is_refused() -> None:
    whole = b'environment: production\npins:\n  api: "1.2.10"\n  web: {version: "2.0.0"}\n'
    for end in range(len(whole)):
        if whole[:end].endswith(b"\n"):
            continue
        problem = refused(whole[:end])
        assert "newline" in problem.message or "empty" in problem.message


@pytest.mark.parametrize(
    "text", ["a: b: c\n", "a: 'x\n", "a: [1\n", "\ta: 1\n", "a: @x\n", "a:\n  - b\n c: 1\n"]
)
def test_syntax_errors_name_their_place(text: str) -> None:
    problem = refused_at_once(text)
    assert problem.message.startswith("this is not YAML: ")
    assert problem.place.column > 1 or problem.place.line > 1 or text.startswith("\t")


def test_a_refusal_never_repeats_a_long_key() -> None:
    key = "secret" * 1000
    assert "secret" * 11 not in str(refused(f"? {key}\n: 1\n? {key}\n: 2\n"))


VALUES = st.one_of(st.text("ab.0-+<:\u200b\\\"' \n", max_size=6), st.integers(), st.booleans(), st.none())
STRUCTURES = st.dictionaries(
    st.text("ab.0-<", max_size=3),
    st.recursive(
        VALUES, lambda inner: st.lists(inner) | st.dictionaries(st.text("ab.0<", max_size=3), inner)
    ),
)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200).map(lambda data: data + b"\n"),
        st.text("ab:-?[]{},&*!|>'\"%@`# \n\t~<\r.0\\", max_size=80).map(lambda text: f"{text}\n".encode()),
        STRUCTURES.map(lambda value: f"{json.dumps(value)}\n".encode()),
    )
)
def test_any_bytes_are_a_document_or_an_input_error(data: bytes) -> None:
    try:
        document = read(data, FILE)
    except InputError as error:
        problems = error.problems
    else:
        problems = ()
        assert isinstance(document.data, dict)
        assert document.text.encode() == data
        agree(document, document.root, ())
    assert all(problem.message and problem.remedy for problem in problems)


def agree(document: Document, node: Node, path: Path) -> None:
    """What was read in one plain pass is what the tree has: every value, and where it stands."""
    assert repr(document.at(path)) == repr(node.data)
    assert document.place(path) == Place(FILE, node.line, node.column)
    assert document.quoted(path) == (node.style in {'"', "'"})
    for step, child in node.children.items():
        agree(document, child, (*path, step))


def test_texts_in_quotes_are_found_with_their_places() -> None:
    document = read(b"pins:\n  a: \"1\"\n  b: 2\n  c: [x]\n  d: '4'\nlist: [a]\n", FILE)
    assert document.quoted_in("pins") == {"a": Place(FILE, 2, 6), "d": Place(FILE, 5, 6)}
    assert document.quoted_in("list") == document.quoted_in("none") == {}


def test_a_path_that_ends_early_means_the_nearest_value_above_it() -> None:
    document = read(b"a: [x, {b: text}]\n", FILE)
    assert document.at(("a", 1, "b", 0)) == "text"
    assert document.at(("a", 7)) == document.at(("a", "b")) == ["x", {"b": "text"}]
    assert document.place(("a", 7)) == document.place(("a", "b")) == Place(FILE, 1, 4)


def test_every_published_example_is_read(request: pytest.FixtureRequest) -> None:
    root = File(request.config.rootpath)
    examples = sorted((root / "releases").glob("*/*.yaml")) + sorted((root / "environments").glob("*.yaml"))
    assert examples
    for path in examples:
        assert read(path.read_bytes(), path.name).data
