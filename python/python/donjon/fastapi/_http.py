"""HTTP's rules of caching (RFC 9111), as far as they concern a cache inside the server: pure functions over headers.

Owns what may be kept and for how long, when what is kept may answer a request, entity tags, and the words of `Cache-Status`
(RFC 9211). Must not know where responses are kept, who makes them, or what time it is: ages and moments are passed in.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import NamedTuple

__all__ = [
    "NOT_KEPT",
    "Lifetime",
    "Wanted",
    "directives",
    "etag",
    "lifetime",
    "may_answer",
    "not_modified",
    "varied_by",
    "wanted",
]

Directives = Mapping[str, str | None]

NOT_KEPT = frozenset(
    {
        b"age",
        b"cache-status",
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers of one connection, or of one way through a cache."""

_DIRECTIVE = re.compile(r'\s*([!#$%&\'*+.^_`|~\w-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]*)))?[^,]*(?:,|$)')
_ENTITY_TAG = re.compile(r'\*|(?:W/)?"[^"]*"')
# Of the others a response has to say itself that it may be kept (RFC 9110, section 15.1).
_KEPT_BY_DEFAULT = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414})
# Of a part, of what a client has already, or of who asks.
_NEVER_KEPT = frozenset({206, 304, 401, 403, 407})
_MOST_SECONDS = 2**31  # what an absurdly large number of seconds counts as


class Lifetime(NamedTuple):
    """For how many seconds a response may answer."""

    fresh: float
    while_revalidate: float
    """Further seconds in which it may answer while another request refreshes it."""
    if_error: float
    """Further seconds in which it may answer where refreshing it fails."""

    @property
    def grace(self) -> float:
        """Further seconds in which it is worth keeping."""
        return max(self.while_revalidate, self.if_error)


class Wanted(NamedTuple):
    """What a request says of how fresh its answer has to be."""

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age: float | None = None
    min_fresh: float = 0.0
    max_stale: float = 0.0


_NOTHING = Wanted()


def directives(values: Iterable[str]) -> dict[str, str | None]:
    """The directives of `Cache-Control` headers, in small letters. Of one that comes twice the first counts.

    Examples:
        >>> directives(['public, Max-Age=60, private="a, b"'])
        {'public': None, 'max-age': '60', 'private': 'a, b'}
    """
    found: dict[str, str | None] = {}
    for value in values:
        for name, quoted, plain in _DIRECTIVE.findall(value):
            found.setdefault(name.lower(), quoted or plain or None)
    return found


def wanted(control: str | None, pragma: str | None = None) -> Wanted:
    """What the `Cache-Control` of a request asks for; `Pragma: no-cache` counts where there is none.

    Examples:
        >>> wanted("max-age=5, max-stale").max_age
        5.0
    """
    if control is None and pragma is None:
        return _NOTHING
    said = directives([control or ""])
    if not said:
        return Wanted(no_cache=pragma is not None and "no-cache" in pragma.lower())
    stale = 0.0
    if "max-stale" in said:
        stale = _seconds(said, "max-stale", otherwise=_MOST_SECONDS) or 0.0
    return Wanted(
        no_cache="no-cache" in said,
        no_store="no-store" in said,
        only_if_cached="only-if-cached" in said,
        max_age=_seconds(said, "max-age"),
        min_fresh=_seconds(said, "min-fresh") or 0.0,
        max_stale=stale,
    )


def lifetime(
    status: int,
    control: Iterable[str],
    *,
    sets_cookie: bool,
    vary: Sequence[str],
    expires: str | None,
    now: float,
    ttl: float,
    grace: float,
) -> Lifetime | None:
    """For how long a response may be kept by a cache that everybody shares; None where it may not.

    Args:
        control: Its `Cache-Control` headers.
        sets_cookie: Whether it has a `Set-Cookie`: what it sets is one client's.
        vary: What it varies by, from `varied_by`.
        expires: Its `Expires`.
        now: Seconds since the epoch, for `expires`.
        ttl: Seconds for which it is fresh where it does not say.
        grace: Seconds after that in which it may be served stale, where it does not say how long it is fresh.
    """
    said = directives(control)
    if status < 200 or status in _NEVER_KEPT or status >= 500 or sets_cookie or "*" in vary:
        return None
    if "no-store" in said or "private" in said or "no-cache" in said:
        return None
    fresh = _seconds(said, "s-maxage")
    if fresh is None:
        fresh = _seconds(said, "max-age")
    if fresh is None and expires is not None:
        fresh = (_moment(expires) or 0.0) - now
    if fresh is None:
        if status not in _KEPT_BY_DEFAULT:
            return None
        fresh, otherwise = ttl, grace
    else:
        otherwise = 0.0
    if fresh <= 0:
        return None
    if "must-revalidate" in said or "proxy-revalidate" in said:
        return Lifetime(fresh, 0.0, 0.0)
    revalidate, error = _seconds(said, "stale-while-revalidate"), _seconds(said, "stale-if-error")
    return Lifetime(fresh, otherwise if revalidate is None else revalidate, otherwise if error is None else error)


def may_answer(kept: Lifetime, age: float, asked: Wanted) -> bool:
    """Whether a kept response of this age may answer, fresh or while another request refreshes it.

    Examples:
        >>> kept = Lifetime(fresh=60, while_revalidate=30, if_error=600)
        >>> [may_answer(kept, age, Wanted()) for age in (59, 61, 91)]
        [True, True, False]
    """
    if asked.no_cache or (asked.max_age is not None and age > asked.max_age):
        return False
    left = kept.fresh - age
    if asked.min_fresh:
        return left >= asked.min_fresh
    return left > 0 or -left < max(kept.while_revalidate, asked.max_stale)


def varied_by(values: Iterable[str]) -> list[str]:
    """The names in `Vary` headers, in small letters and in order.

    Examples:
        >>> varied_by(["Accept-Language, accept", "Accept"])
        ['accept', 'accept-language']
    """
    return sorted({name.strip().lower() for value in values for name in value.split(",") if name.strip()})


def etag(url: str, selected: Iterable[tuple[str, str]], described: Iterable[str], body: bytes) -> str:
    """A strong entity tag: of these bytes at this URL, as these headers selected and describe them, and of nothing else.

    Examples:
        >>> etag("/a", [], [], b"same") == etag("/b", [], [], b"same")
        False
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in (url, *(text for pair in selected for text in pair), *described):
        raw = part.encode("utf-8", "surrogateescape")
        digest.update(len(raw).to_bytes(4, "big") + raw)
    digest.update(body)
    return f'"{digest.hexdigest()}"'


def not_modified(
    none_match: str | None, modified_since: str | None, tag: str | None, last_modified: str | None
) -> bool:
    """Whether a conditional GET or HEAD has what it asks for already.

    Args:
        none_match: Its `If-None-Match`; with it, `modified_since` counts for nothing.
        modified_since: Its `If-Modified-Since`.
        tag: The entity tag that it would be answered with.
        last_modified: The `Last-Modified` that it would be answered with.
    """
    if none_match is not None:
        known = {found.removeprefix("W/") for found in _ENTITY_TAG.findall(none_match)}
        return "*" in known or (tag is not None and tag.removeprefix("W/") in known)
    if modified_since is None or last_modified is None:
        return False
    since, modified = _moment(modified_since), _moment(last_modified)
    return since is not None and modified is not None and modified <= since


def _seconds(said: Directives, name: str, otherwise: float = 0.0) -> float | None:
    """The seconds of a directive; None where it is not there, `otherwise` where it has no number, as is prudent."""
    if name not in said:
        return None
    text = said[name]
    if text is None:
        return otherwise
    return float(min(int(text), _MOST_SECONDS)) if text.isascii() and text.isdigit() and len(text) < 20 else 0.0


def _moment(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
