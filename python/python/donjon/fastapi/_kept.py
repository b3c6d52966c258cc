"""What lies in the cache for a URL: a response, a note that it varies, or a note that it is not worth waiting for.

Owns the bytes of the three and the names they are kept under. A response is one line of JSON and then the body as it was
sent, so nothing of it is decoded or copied to be served again.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from ._http import NOT_KEPT, Lifetime

__all__ = ["PASS", "Entry", "Kept", "Varied", "parse", "response_key", "selected", "sent"]

LONGEST = 900
"""Bytes of a key for a URL; the rest of what a key may have is for what tells variants apart."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A response. Headers are pairs in small letters, as ASGI has them, but text."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    at: float
    """Seconds since the epoch at which it was made."""
    lifetime: Lifetime

    @classmethod
    def of(
        cls, status: int, raw_headers: Iterable[tuple[bytes, bytes]], body: bytes, at: float, life: Lifetime
    ) -> Kept:
        headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in raw_headers if name not in NOT_KEPT
        ]
        return cls(status, headers, body, at, life)

    def age(self, now: float) -> float:
        return max(0.0, now - self.at)

    def header(self, name: str) -> str | None:
        return next((value for known, value in self.headers if known == name), None)

    def dump(self) -> bytes:
        return orjson.dumps(["kept", self.status, self.at, *self.lifetime, self.headers]) + b"\n" + self.body


@dataclass(frozen=True, slots=True)
class Varied:
    """The responses of this URL vary by these headers, and are kept under names of their own.

    `id` is part of those names: once this note is invalidated, all that it led to is out of reach.
    """

    id: str
    names: list[str]

    @classmethod
    def by(cls, names: Iterable[str]) -> Varied:
        return cls(secrets.token_hex(8), sorted(set(names)))

    def key(self, url_key: str, headers: Mapping[str, str]) -> str:
        """Where the variant for these request headers is."""
        digest = hashlib.blake2b(digest_size=16)
        for name, value in selected(self.names, headers):
            digest.update(f"{name}\0{value}\0".encode("utf-8", "surrogateescape"))
        return f"{url_key}#{self.id}:{digest.hexdigest()}"

    def dump(self) -> bytes:
        return orjson.dumps(["varied", self.id, self.names]) + b"\n"


PASS = b'["pass"]\n'
"""What came last for this URL may not be kept: whoever asks need not wait for another's answer."""

Entry: TypeAlias = Kept | Varied | None


def parse(stored: Any) -> Kept | Varied | bytes | None:
    """What was stored under a key of `response_key`, or `Varied.key`; None where that was no work of ours."""
    if type(stored) is not bytes:
        return None
    if stored == PASS:
        return PASS
    head, line, body = stored.partition(b"\n")
    if not line:
        return None
    try:
        kind, *said = orjson.loads(head)
        if kind == "kept":
            status, at, fresh, revalidate, error, headers = said
            return Kept(
                status, [(name, value) for name, value in headers], body, at, Lifetime(fresh, revalidate, error)
            )
        if kind == "varied":
            name, names = said
            return Varied(name, names)
    except (ValueError, TypeError):  # no JSON, or of another form
        pass
    return None


def sent(scope: Mapping[str, Any]) -> dict[str, str]:
    """The headers of a request; those of one name as one, with commas.

    Examples:
        >>> sent({"headers": [(b"accept", b"a"), (b"host", b"app"), (b"accept", b"b")]})
        {'accept': 'a, b', 'host': 'app'}
    """
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def response_key(scope: Mapping[str, Any], headers: Mapping[str, str]) -> str | None:
    """The key of a request's URL: `response:` and the URL itself; None where that is too long for a key.

    Examples:
        >>> scope = {"scheme": "http", "path": "/users/5", "raw_path": b"/users/5", "query_string": b"full=1"}
        >>> response_key(scope, {"host": "app"})
        'response:http://app/users/5?full=1'
    """
    path = scope.get("raw_path") or scope["path"].encode()
    query = b"?" + scope["query_string"] if scope.get("query_string") else b""
    host = headers.get("host", "").lower()
    key = f"response:{scope.get('scheme', 'http')}://{host}{(path + query).decode('latin-1')}"
    return key if len(key.encode()) <= LONGEST else None


def selected(names: Sequence[str], headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """What a request has of the headers that a response varies by."""
    return [(name, headers.get(name, "").strip()) for name in names]
