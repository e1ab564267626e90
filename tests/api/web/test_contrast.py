"""Every ink on every ground that it stands on: WCAG 2.2, level AA, computed from the style itself."""

from __future__ import annotations

import re

import pytest

from reconciler.api.web.assets import FOLDER

STYLE = (FOLDER / "style.css").read_text()
TEXT, SHAPE = 4.5, 3.0
"""The least contrast of text, and of what is no text: borders of fields, shapes, the mark of focus."""
TEXTS = [
    *((ink, ground) for ink in ("ink", "muted", "accent") for ground in ("ground", "surface", "flash")),
    *((ink, ground) for ink in ("good", "warn", "bad") for ground in ("ground", "surface")),
    *((ink, "bad-ground") for ink in ("ink", "accent", "bad")),
    ("warn", "warn-ground"),
    ("on-accent", "accent"),
]
SHAPES = [
    (ink, ground) for ink in ("muted", "accent", "good", "warn", "bad") for ground in ("ground", "surface")
]


PAIRS = re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", STYLE)
"""Every colour, as it is on a light page and on a dark one."""
LIGHT = {name: light for name, light, _ in PAIRS}
DARK = {name: dark for name, _, dark in PAIRS}


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_measure_is_the_standards() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_text_can_be_read(colours: dict[str, str]) -> None:
    weak = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in TEXTS}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < TEXT} == {}


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_shapes_can_be_seen(colours: dict[str, str]) -> None:
    weak = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in SHAPES}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < SHAPE} == {}


def test_the_page_is_the_systems_or_what_one_chooses() -> None:
    chosen = re.findall(r"^(:root\S*) \{\s*color-scheme: ([\w ]+);", STYLE, re.MULTILINE)
    assert dict(chosen) == {
        ":root": "light dark",
        ':root[data-theme="light"]': "light",
        ':root[data-theme="dark"]': "dark",
    }


def test_every_colour_is_one_of_the_themes() -> None:
    used = set(re.findall(r"var\(--([\w-]+)\)", STYLE))
    assert used == LIGHT.keys()
    assert len(PAIRS) == len(LIGHT)
    outside = re.sub(r"--[\w-]+: light-dark\(#[0-9a-f]{6}, #[0-9a-f]{6}\);", "", STYLE)
    assert not re.search(r"#[0-9a-f]{3,8}\b(?=[;, )])|rgba?\(", outside)
