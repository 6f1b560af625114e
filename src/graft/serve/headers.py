"""Which scripts and styles of a page a browser may run: those that are in it, known by their hashes, and no others."""

from __future__ import annotations

import base64
import hashlib
import re

_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


def page_policy(html: str) -> str:
    """The Content-Security-Policy of a page that is whole in one file.

    Whatever a sender's file name or class name might bring onto the page cannot run. Attributes such as ``style=`` and
    ``onclick=`` have no hash and are not allowed; what a script sets by ``element.style`` is.
    """
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for kind, content in _INLINE.findall(html):
        # A browser hashes the text as it is after its line ends were made one kind.
        text = content.replace("\r\n", "\n").replace("\r", "\n").encode()
        hashes[kind].append(f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'")
    rules = {
        "default-src": ["'none'"],
        "script-src": hashes["script"] or ["'none'"],
        "style-src": hashes["style"] or ["'none'"],
        "img-src": ["blob:", "data:"],
        "connect-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    return "; ".join(f"{name} {' '.join(values)}" for name, values in rules.items())
