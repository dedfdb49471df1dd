"""The documentation page: a small program of our own that renders the OpenAPI document, loading nothing from elsewhere."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from foliot_gateway.http.site import Asset

_PAGES: Final = (
    ("/docs", "docs.html", "text/html"),
    ("/docs/docs.css", "docs.css", "text/css"),
    ("/docs/docs.js", "docs.js", "text/javascript"),
    ("/docs/docs.svg", "docs.svg", "image/svg+xml"),
)


def docs_assets() -> tuple[Asset, ...]:
    """Return the page and what it needs."""
    folder = files("foliot_gateway.http") / "pages"
    return tuple(Asset(path=path, media_type=kind, content=(folder / name).read_bytes()) for path, name, kind in _PAGES)
