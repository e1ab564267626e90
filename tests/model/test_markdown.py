"""Text that people wrote stays text, whatever is in it."""

from __future__ import annotations

import pytest

from reconciler.model.markdown import code, details, quote, table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain", "`plain`"),
        ("two\n  lines", "`two lines`"),
        ("a`b", "``a`b``"),
        ("`a", "`` `a ``"),
        ("a```b``", "```` a```b`` ````"),
        ("x" * 501, f"`{'x' * 497}...`"),
        ("a ##[add-mask]b ##vso[x]", "`a # #[add-mask]b # #vso[x]`"),
    ],
)
def test_a_code_span_cannot_be_ended_from_within(text: str, shown: str) -> None:
    assert code(text) == shown


def test_a_quoted_block_is_fenced_longer_than_anything_in_it() -> None:
    assert quote("a\n\n`````\n::error::x\n") == [
        "> ``````text",
        "> a",
        ">",
        "> `````",
        "> ::error::x",
        "> ``````",
    ]


def test_a_bar_makes_no_cell() -> None:
    assert table(["a", "b"], [["x|y", r"\|"]]) == ["| a | b |", "| --- | --- |", "| x¦y | \\¦ |"]


def test_a_summary_is_no_html() -> None:
    assert details("<b>&\n", ["x"])[1] == "<summary><code>&lt;b&gt;&amp;</code></summary>"
