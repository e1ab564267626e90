"""The style, the scripts and the icon: read once, sent with an ETag."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FOLDER = Path(__file__).parent / "static"
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FOR_EVER = "public, max-age=31536000, immutable"


class Asset(NamedTuple):
    data: bytes
    kind: str
    version: str


class Static:
    """Every file of the folder, by name."""

    def __init__(self) -> None:
        self.files = {
            path.name: Asset(
                data := path.read_bytes(), KINDS[path.suffix], hashlib.sha256(data).hexdigest()[:16]
            )
            for path in FOLDER.iterdir()
            if path.suffix in KINDS
        }

    def address(self, name: str) -> str:
        """Where it is, with its version, so that a browser may keep it for ever."""
        return f"/ui/static/{name}?v={self.files[name].version}"


def assets(static: Static) -> Route:
    """The route of them all. They are no secret: everyone gets them, before he signs in."""

    async def send(request: Request) -> Response:
        found = static.files.get(request.path_params["name"])
        if found is None:
            return Response(status_code=404)
        same = request.query_params.get("v") == found.version
        headers = {"ETag": f'"{found.version}"', "Cache-Control": FOR_EVER if same else "no-cache"}
        if f'"{found.version}"' in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(found.data, media_type=found.kind, headers=headers)

    return Route("/ui/static/{name}", send)
