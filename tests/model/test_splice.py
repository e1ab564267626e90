"""One pin changes, and nothing else of the file: not a comment, not a quote, not a line ending."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from reconciler.model import document as reading
from reconciler.model import splice
from reconciler.model.errors import InputError, UgsError
from reconciler.model.splice import pin_node, remove_pin, set_pin, set_version

FILE = "environments/production.yaml"

PRODUCTION = """\
# Who runs here, and when it may change.
environment: production
driver: {kind: process}
pins:
  # The API is what customers see.
  api: "1.5.0"     # aligned, on purpose
  web: {version: '2.1.0', instances: 3}   # three of them

  # Slow to start.
  billing:
    version: "2.4.0"   # the ledger's version
    instances: 2
    config:
      workers: 4  # one a core
      greeting: 'Grüß Gott'
  # Nothing below this line.
"""


def changed(old: str, before: str, after: str) -> str:
    assert old.count(before) == 1
    return old.replace(before, after)


def check_set(old: str, service: str, value: object, new: str) -> None:
    assert set_pin(old.encode(), FILE, service, json.dumps(value)).decode() == new


def check_removed(old: str, service: str, new: str) -> None:
    assert remove_pin(old.encode(), FILE, service).decode() == new


# What a pin says


def test_a_pins_value_is_canonical_json() -> None:
    data = PRODUCTION.encode()
    assert pin_node(data, FILE, "api") == '"1.5.0"'
    assert pin_node(data, FILE, "web") == '{"instances":3,"version":"2.1.0"}'
    assert pin_node(data, FILE, "shop") is None
    assert pin_node(b"environment: production\n", FILE, "api") is None


# Setting a pin


def test_a_version_is_replaced_in_its_own_quotes_and_its_comment_stays_aligned() -> None:
    check_set(PRODUCTION, "api", "1.4.0", changed(PRODUCTION, '"1.5.0"', '"1.4.0"'))


def test_only_the_leaf_that_differs_is_touched_in_a_mapping() -> None:
    value = {"version": "2.0.9", "instances": 3}
    check_set(PRODUCTION, "web", value, changed(PRODUCTION, "'2.1.0'", "'2.0.9'"))
    nested = {"version": "2.4.0", "instances": 2, "config": {"workers": 8, "greeting": "Grüß Gott"}}
    check_set(PRODUCTION, "billing", nested, changed(PRODUCTION, "workers: 4", "workers: 8"))


def test_keys_that_come_and_go_take_only_their_own_lines() -> None:
    value = {"version": "2.4.0", "config": {"workers": 4, "greeting": "Grüß Gott"}, "port": 8081}
    new = changed(PRODUCTION, "    instances: 2\n", "")
    new = changed(new, "'Grüß Gott'\n", "'Grüß Gott'\n    port: 8081\n")
    check_set(PRODUCTION, "billing", value, new)


def test_a_version_becomes_a_mapping_and_back() -> None:
    value = {"version": "1.4.0", "port": 8081}
    mapped = changed(PRODUCTION, '"1.5.0"', '{version: "1.4.0", port: 8081}')
    check_set(PRODUCTION, "api", value, mapped)
    check_set(mapped, "api", "1.5.0", PRODUCTION)


def test_a_block_becomes_a_plain_version_and_the_comments_before_it_stay() -> None:
    block = "  billing:  # the ledger\n    # why two\n    version: '2.4.0'\n    instances: 2  # two\n"
    old = f"pins:\n{block}  web: '1.0.0'\n"
    check_set(
        old, "billing", "2.3.2", "pins:\n  billing: \"2.3.2\"  # the ledger\n    # why two\n  web: '1.0.0'\n"
    )


def test_a_pin_is_added_after_the_last_one_in_the_layout_of_its_neighbours() -> None:
    old = 'pins:\n    api: "1.0.0"  # first\nfreezes: []\n'
    check_set(old, "web", "2.0.0", 'pins:\n    api: "1.0.0"  # first\n    web: "2.0.0"\nfreezes: []\n')
    check_set('pins: {api: "1.0.0"}\n', "web", "2.0.0", 'pins: {api: "1.0.0", web: "2.0.0"}\n')


@pytest.mark.parametrize("empty", ["pins: {}  # none\n", "pins:  # none\n", "pins: ~  # none\n"])
def test_the_first_pin_goes_into_an_empty_mapping(empty: str) -> None:
    written = set_pin(empty.encode(), FILE, "on", '{"version":"1.0.0"}')
    assert written.decode().startswith('pins: {"on": {version: "1.0.0"}}')
    assert written.endswith(b"# none\n")


def test_a_file_without_pins_gets_them_at_its_end() -> None:
    check_set("environment: p\n", "api", "1.0.0", 'environment: p\npins: {api: "1.0.0"}\n')
    check_set("{environment: p}\n", "api", "1.0.0", '{environment: p, pins: {api: "1.0.0"}}\n')


def test_windows_line_endings_stay() -> None:
    old = PRODUCTION.replace("\n", "\r\n")
    check_set(old, "api", "1.4.0", changed(old, '"1.5.0"', '"1.4.0"'))
    added = set_pin(old.encode(), FILE, "shop", '"1.0.0"').decode()
    assert added == changed(old, "Gott'\r\n", 'Gott\'\r\n  shop: "1.0.0"\r\n')
    check_removed(old, "api", changed(old, '  api: "1.5.0"     # aligned, on purpose\r\n', ""))


def test_a_quote_that_cannot_hold_the_value_gives_way_and_a_plain_word_stays_plain() -> None:
    old = "pins:\n  a: {version: '1.0.0', strategy: stop-start, config: {text: 'x', ratio: 0.5}}\n"
    config = {"text": "it's\ntwo lines", "ratio": 0.00001}
    value = {"version": "1.0.0", "strategy": "blue-green", "config": config}
    new = changed(old, "stop-start", "blue-green")
    new = changed(new, "'x', ratio: 0.5", '"it\'s\\ntwo lines", ratio: 0.00001')
    check_set(old, "a", value, new)
    assert pin_node(new.encode(), FILE, "a") == pin_node(
        set_pin(old.encode(), FILE, "a", json.dumps(value)), FILE, "a"
    )
    check_set(
        old,
        "a",
        {**value, "config": {"text": "it's", "ratio": 2.0}},
        "".join(
            ("pins:\n  a: {version: '1.0.0', strategy: blue-green, config: {text: 'it''s', ratio: 2.0}}\n",)
        ),
    )


def test_a_block_of_text_is_replaced_as_a_whole() -> None:
    block = "|\n        one\n        two\n"
    old = f"pins:\n  a:\n    version: '1.0.0'\n    config:\n      motd: {block}\n  b: '1'\n"
    value = {"version": "1.0.0", "config": {"motd": "three"}}
    new = changed(old, block, '"three"\n')
    check_set(old, "a", value, new)


def test_setting_what_is_there_changes_no_byte() -> None:
    check_set(PRODUCTION, "api", "1.5.0", PRODUCTION)


def test_a_pin_is_added_on_its_own_line_where_flow_pins_have_one_each() -> None:
    old = "pins: {\n  a: '1', # one\n  b: '2' # two\n}\n"
    new = "pins: {\n  a: '1', # one\n  b: '2', # two\n  c: \"3\"\n}\n"
    check_set(old, "c", "3", new)
    check_set(changed(old, "'2' #", "'2', #"), "c", "3", changed(new, '"3"', '"3",'))


# Removing a pin


def test_a_removed_pin_takes_its_line_and_its_own_comment_and_leaves_the_neighbours() -> None:
    check_removed(PRODUCTION, "api", changed(PRODUCTION, '  api: "1.5.0"     # aligned, on purpose\n', ""))
    start, end = PRODUCTION.index("  billing:"), PRODUCTION.index("  # Nothing below")
    check_removed(PRODUCTION, "billing", PRODUCTION[:start] + PRODUCTION[end:])


def test_the_last_pin_leaves_an_empty_mapping_and_the_comments_above_it() -> None:
    old = "pins:  # all\n  # the only one\n  api: '1.0.0'  # gone\nfreezes: []\n"
    check_removed(old, "api", "pins: {}  # all\n  # the only one\nfreezes: []\n")
    check_removed("pins: {api: '1.0.0'} # x\n", "api", "pins: {} # x\n")


@pytest.mark.parametrize(
    ("service", "left"), [("a", "{b: '2', c: '3'}"), ("b", "{a: '1', c: '3'}"), ("c", "{a: '1', b: '2'}")]
)
def test_a_removed_pin_takes_one_comma_from_a_line_of_pins(service: str, left: str) -> None:
    check_removed("pins: {a: '1', b: '2', c: '3'}  # all\n", service, f"pins: {left}  # all\n")


def test_a_removed_pin_takes_its_line_from_flow_pins_on_lines_of_their_own() -> None:
    old = "pins: {\n  a: '1', # one\n  b: '2', # two\n  c: '3' # three\n}\n"
    check_removed(old, "b", changed(old, "  b: '2', # two\n", ""))
    check_removed(old, "c", changed(old, "  c: '3' # three\n", ""))
    shared = "pins: {a: '1', # one\n  b: '2' }\n"
    check_removed(shared, "b", "pins: {a: '1', # one\n   }\n")


def test_removing_what_is_not_there_changes_no_byte() -> None:
    check_removed(PRODUCTION, "shop", PRODUCTION)


# Bumping a version


def test_a_bump_changes_the_version_of_a_plain_pin_and_of_a_mapping() -> None:
    data = PRODUCTION.encode()
    assert set_version(data, FILE, "api", "1.6.0").decode() == changed(PRODUCTION, '"1.5.0"', '"1.6.0"')
    assert set_version(data, FILE, "web", "2.2.0").decode() == changed(PRODUCTION, "'2.1.0'", "'2.2.0'")


# What cannot be spliced


def test_an_explicit_key_is_edited_by_a_round_trip_that_keeps_comments() -> None:
    old = "# top\npins:\n  ? api  # odd\n  :\n    '1.0.0'\n  # web stays\n  web: '2.0.0'\n"
    written = set_pin(old.encode(), FILE, "api", '{"version":"1.1.0","port":80}')
    assert b"# top" in written
    assert b"# web stays" in written
    assert reading.read(written, FILE).data == {
        "pins": {"api": {"version": "1.1.0", "port": 80}, "web": "2.0.0"}
    }
    removed = remove_pin(old.replace("\n", "\r\n").encode(), FILE, "api")
    assert reading.read(removed, FILE).data == {"pins": {"web": "2.0.0"}}
    assert removed.count(b"\n") == removed.count(b"\r\n")


def test_what_neither_can_do_is_left_to_a_person_with_the_line() -> None:
    # A date that does not exist is text to us; the round trip stumbles over it.
    old = "pins:\n  ? api\n  : '1.0.0'\n  web: {version: '2.0.0', config: {since: 2026-02-30}}\n"
    with pytest.raises(UgsError) as caught:
        remove_pin(old.encode(), FILE, "api")
    assert str(caught.value) == (
        f"{FILE}:3:5: pins.api cannot be changed without changing more; edit it by hand"
    )


def test_more_differences_than_a_splice_makes_are_left_to_the_round_trip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(splice, "EDITS_MAX", 1)
    old = "pins:\n    a: {version: '1.0.0', instances: 1}\n"
    written = set_pin(old.encode(), FILE, "a", '{"version":"1.1.0","instances":2}')
    assert reading.read(written, FILE).data == {"pins": {"a": {"version": "1.1.0", "instances": 2}}}


@pytest.mark.parametrize(
    ("old", "service"),
    [
        ("pins:\n  ? api\n  : '1.0.0'\n", "web"),
        ("pins:\n  ? api\n  : '1.0.0'\n  ? web\n  : '2.0.0'\n", "api"),
        ("? pins\n: api: '1.0.0'\n", "web"),
        ("? pins\n: api: '1.0.0'\n  web: '2.0.0'\n", "api"),
        ("? pins\n:\n", "api"),
        ("{? pins : {api: '1.0.0'}}\n", "api"),
        ("--- {pins: {web: '1.0.0'}}\n", "api"),
    ],
)
def test_odd_layouts_end_well_or_not_at_all(old: str, service: str) -> None:
    pins = reading.read(old.encode(), FILE).data["pins"] or {}
    written = set_pin(old.encode(), FILE, service, '"3.0.0"')
    assert reading.read(written, FILE).data == {"pins": {**pins, service: "3.0.0"}}
    removed = remove_pin(written, FILE, service)
    assert reading.read(removed, FILE).data == {"pins": {key: pins[key] for key in pins if key != service}}


def test_a_value_that_no_file_may_hold_is_never_written() -> None:
    with pytest.raises(UgsError, match="cannot be changed"):
        set_pin(PRODUCTION.encode(), FILE, "api", json.dumps("1.0.0\u202e"))


def test_pins_that_are_no_mapping_are_refused_with_their_place() -> None:
    with pytest.raises(InputError, match=rf"{FILE}:1:7: pins: this is not a mapping"):
        set_pin(b"pins: [api]\n", FILE, "api", '"1.0.0"')


# Any layout

SCALARS = st.one_of(
    st.booleans(),
    st.none(),
    st.integers(-(10**17), 10**17),
    st.sampled_from([0.5, 1.0, -2.25, 0.001]),
    st.sampled_from(
        ["x", "it's", 'say "hi"', "a: b", "# no", "Grüße 😀", "", " pad ", "two\nlines", "1.10", "true"]
    ),
)
VERSIONS = st.sampled_from(["1.0.0", "1.10.0", "2.4.1-rc.1", "10.0.0+build.7"])
PINS = st.one_of(
    VERSIONS,
    st.fixed_dictionaries(
        {"version": VERSIONS},
        optional={
            "instances": st.integers(1, 9),
            "strategy": st.sampled_from(["stop-start", "blue-green"]),
            "config": st.dictionaries(st.sampled_from(["a", "b_c", "on"]), SCALARS, max_size=3),
        },
    ),
)
SERVICES = st.sampled_from(["api", "web", "billing", "on", "db-1", "7up"])


@dataclass(frozen=True)
class Layout:
    """A pin document as text, and each pin's lines in it where they are its own."""

    text: str
    pins: dict[str, Any]
    lines: dict[str, list[str]]


def scalar(draw: st.DrawFn, value: object) -> str:
    if isinstance(value, str) and "\n" not in value and draw(st.booleans()):
        return "'" + value.replace("'", "''") + "'"
    return json.dumps(value, ensure_ascii=False)


def flow(draw: st.DrawFn, value: object) -> str:
    if isinstance(value, dict):
        space, pad = draw(st.sampled_from(["", " "])), draw(st.sampled_from([" ", "  "]))
        body = f",{pad}".join(f'"{key}": {flow(draw, child)}' for key, child in value.items())
        return f"{{{space}{body}{space}}}"
    return scalar(draw, value)


def comment(draw: st.DrawFn) -> str:
    return draw(st.sampled_from(["", "  # why", " # {x: 'y'", "   "]))


def block(draw: st.DrawFn, key: str, value: object, indent: str) -> list[str]:
    if isinstance(value, dict) and value and draw(st.booleans()):
        deeper = indent + draw(st.sampled_from(["  ", "    "]))
        lines = [f"{indent}{key}:{comment(draw)}"]
        for name, child in value.items():
            lines += draw(st.sampled_from([[], [f"{deeper}# about {name}"]]))
            lines += block(draw, f'"{name}"', child, deeper)
        return lines
    return [f"{indent}{key}: {flow(draw, value)}{comment(draw)}"]


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    pins = draw(st.dictionaries(SERVICES, PINS, min_size=1, max_size=4))
    lines = draw(st.sampled_from([[], ["# top", "environment: production", ""], ["---"]]))
    owned: dict[str, list[str]] = {}
    match draw(st.sampled_from(["block", "flow", "flow lines"])):
        case "block":
            indent = draw(st.sampled_from(["  ", "    "]))
            lines.append(f"pins:{comment(draw)}")
            for service, pin in pins.items():
                lines += draw(st.sampled_from([[], [f"{indent}# above {service}"], [""]]))
                owned[service] = block(draw, service, pin, indent)
                lines += owned[service]
        case "flow":
            lines.append(f"pins: {flow(draw, pins)}{comment(draw)}")
        case _:
            lines.append("pins: {" + comment(draw))
            for service, pin in pins.items():
                owned[service] = [f"    {service}: {flow(draw, pin)},{comment(draw)}"]
                lines += owned[service]
            lines.append("}")
    lines += draw(st.sampled_from([[], ["# end"], ["timezone: UTC  # last", ""]]))
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    return Layout(newline.join([*lines, ""]), pins, owned)


def check_rest(layout: Layout, service: str, after: str, goal: dict[str, Any]) -> None:
    """Only the pin differs, by two readers, and the other pins' lines are as they were."""
    assert reading.read(after.encode(), FILE).data.get("pins") == goal
    plain = YAML(typ="safe", pure=True).load(after)
    assert json.dumps(plain["pins"], sort_keys=True) == json.dumps(goal, sort_keys=True)
    old, new = (reading.read(text.encode(), FILE).data for text in (layout.text, after))
    assert {**old, "pins": None} == {**new, "pins": None}
    crlf = "\r\n" in layout.text
    assert after.count("\r\n") == (after.count("\n") if crlf else 0)
    newline = "\r\n" if crlf else "\n"
    for neighbour, lines in layout.lines.items():
        if neighbour != service:
            assert newline.join([*lines, ""]) in after


@settings(max_examples=150, deadline=None)
@given(layouts(), SERVICES, PINS)
def test_setting_any_pin_in_any_layout_changes_that_pin_alone(
    layout: Layout, service: str, pin: dict[str, Any] | str
) -> None:
    after = set_pin(layout.text.encode(), FILE, service, json.dumps(pin)).decode()
    check_rest(layout, service, after, {**layout.pins, service: pin})
    again = set_pin(after.encode(), FILE, service, json.dumps(pin)).decode()
    assert again == after


@settings(max_examples=150, deadline=None)
@given(layouts(), SERVICES)
def test_removing_any_pin_in_any_layout_removes_that_pin_alone(layout: Layout, service: str) -> None:
    after = remove_pin(layout.text.encode(), FILE, service).decode()
    check_rest(layout, service, after, {key: pin for key, pin in layout.pins.items() if key != service})


@settings(max_examples=100, deadline=None)
@given(layouts(), st.data())
def test_a_version_set_and_set_back_gives_the_same_bytes(layout: Layout, data: st.DataObject) -> None:
    service = data.draw(st.sampled_from(sorted(layout.pins)))
    pin = layout.pins[service]
    version = pin["version"] if isinstance(pin, dict) else pin
    there = set_version(layout.text.encode(), FILE, service, "9.9.9")
    assert there != layout.text.encode()
    assert set_version(there, FILE, service, version) == layout.text.encode()
