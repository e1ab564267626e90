"""Documents that were right once: cut, doubled, and sprinkled with what parsers stumble over."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parent.parent.parent
FENCE = re.compile(r"^```yaml\n(# (?:later: )?(\S+)\n.*?)^```$", re.MULTILINE | re.DOTALL)
TOKENS = [
    *(
        b"&a ",
        b"*a",
        b"<<: *a",
        b"!!python/object:os.system ",
        b"!foo ",
        b"!!binary ",
        b"%YAML 1.1\n---\n",
        b"---\n",
        b"...\n",
    ),
    *(
        b"NO",
        b"1.10",
        b"12:30:00",
        b"0x1f",
        b"1_000",
        b".inf",
        b".nan",
        b"1e999",
        b"~",
        b"null",
        b"9" * 5000,
        b"-0",
    ),
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b"[" * 200,
        b"{a: " * 100,
        b": ",
        b"- ",
        b"? ",
        b"| \n",
        b">-\n",
        b"#",
        b"'",
        b'"',
        b"\\",
    ),
    *(b"\t", b"\r\n", b"\r", b"\0", b"\x1b[31m", b"\xef\xbb\xbf", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80"),
    *(
        "\u202e".encode(),
        "\u200b".encode(),
        "\u2028".encode(),
        "\x85".encode(),
        "\u017f".encode(),
        "\U0001f600".encode(),
    ),
    *(
        b"{secret: x}",
        b"{port}",
        b"{",
        b"$ref: http://127.0.0.1:1/",
        b"../",
        b"/etc/passwd",
        b"--upload-pack=x",
        b"ext::sh",
    ),
    *(
        b"2026-02-30",
        b"2026-11-02T10:00:00Z",
        b"0 2 * * 6#9",
        b"* 22-22 * * *",
        b">=1 <",
        b"^x.1",
        b"1.0.0 - ",
        b"366d",
        b"0s",
    ),
]


def corpus(*folders: str) -> list[tuple[str, bytes]]:
    """(path, bytes) of every whole document in the examples and on the pages whose path starts so."""
    found = [
        (str(path.relative_to(ROOT)), path.read_bytes())
        for top in folders
        for path in (ROOT / top).rglob("*.yaml")
    ]
    for page in sorted((ROOT / "docs").glob("*.md")):
        found += [
            (name, text.encode())
            for text, name in FENCE.findall(page.read_text())
            if name.startswith(folders)
        ]
    return found


@st.composite
def damaged(draw: st.DrawFn, documents: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """One of the documents after a few blows; sometimes with none at all."""
    path, data = draw(st.sampled_from(documents))
    for _ in range(draw(st.integers(0, 6))):
        here, there = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        there = min(there, here + 60)
        blow = draw(st.sampled_from(("cut", "token", "replace", "double", "noise", "end", "value")))
        match blow:
            case "cut":
                data = data[:here] + data[there:]
            case "token":
                data = data[:here] + draw(st.sampled_from(TOKENS)) + data[here:]
            case "replace":
                data = data[:here] + draw(st.sampled_from(TOKENS)) + data[there:]
            case "double":
                data = data[:there] + data[here:]
            case "noise":
                data = data[:here] + draw(st.binary(max_size=8)) + data[there:]
            case "end":
                data = data[:here] + b"\n"
            case "value":
                data = _other_value(data, here, draw(VALUES))
    return path, data


VALUES = st.one_of(
    st.sampled_from(TOKENS),
    st.integers().map(lambda number: str(number).encode()),
    st.floats().map(lambda number: str(number).encode()),
    st.booleans().map(lambda yes: str(yes).lower().encode()),
    st.sampled_from(
        [
            b"[]",
            b"{}",
            b"[[]]",
            b"{a: {b: [1, {c: d}]}}",
            b'""',
            b'"' + b"x" * 3000 + b'"',
            b"[1, two, 3.0, null]",
        ]
    ),
)


def _other_value(data: bytes, near: int, value: bytes) -> bytes:
    """Another value after the first `key: ` from there on."""
    colon = data.find(b": ", near)
    if colon < 0:
        return data
    end = min(at for at in (data.find(b"\n", colon), data.find(b",", colon), len(data)) if at >= 0)
    return data[: colon + 2] + value + data[end:]
