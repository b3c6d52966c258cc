"""Which rows make what untrue: rules bound to models, and what they come to for one row.

Owns templates over columns. A column whose value is not known, as in a statement that changes many rows, stands for any value: a
key becomes a pattern. Must not know of sessions or caches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import Mapper

from donjon import _donjon
from donjon._backend import listed
from donjon._errors import InvalidRule
from donjon._keys import part

__all__ = ["Rule", "Targets", "rule_for"]


@dataclass
class Targets:
    """What is to be invalidated."""

    keys: set[str] = field(default_factory=set)
    patterns: set[str] = field(default_factory=set)
    tags: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.keys or self.patterns or self.tags)

    def __ior__(self, other: Targets) -> Targets:
        self.keys |= other.keys
        self.patterns |= other.patterns
        self.tags |= other.tags
        return self


class Rule:
    """What a change of a row of one model makes untrue."""

    def __init__(
        self,
        mapper: Mapper[Any],
        keys: list[_donjon.Template],
        patterns: list[_donjon.Template],
        tags: list[_donjon.Template],
    ) -> None:
        self.mapper = mapper
        self._keys = keys
        self._patterns = patterns
        self._tags = tags
        self.names = {name for template in (*keys, *patterns, *tags) for name in template.names}
        """The columns that it names."""

    def add(self, targets: Targets, known: Mapping[str, object]) -> None:
        """What it comes to for a row of which these columns are known.

        Raises:
            InvalidKey: A column's value has no stable text.
            InvalidRule: A tag names a column that is not known: unlike a key it cannot be made a pattern.
        """
        parts = {name: part(known[name]) for name in self.names if name in known}
        literal = {name: _donjon.glob_escape(parts[name]) if name in parts else "*" for name in self.names}
        for template in self._tags:
            missing = [name for name in template.names if name not in parts]
            if missing:
                raise InvalidRule(
                    f"a tag of the rule for {self.mapper.class_.__qualname__} names {missing[0]!r}, which is not known of the rows "
                    "that this statement changes: load them and change the instances, or give the rule a pattern instead"
                )
            targets.tags.add(template.render(parts))
        for template in self._keys:
            if all(name in parts for name in template.names):
                targets.keys.add(template.render(parts))
            else:
                targets.patterns.add(template.pattern(parts))
        targets.patterns.update(template.render(literal) for template in self._patterns)


def rule_for(model: type, keys: Iterable[str], patterns: Iterable[str], tags: Iterable[str]) -> Rule:
    """A rule, found good.

    Raises:
        InvalidRule: No mapped class, a template names none of its columns, or nothing would be invalidated.
        InvalidTemplate: A template cannot be read.
    """
    mapper: Any = inspect(model, raiseerr=False)
    if not isinstance(mapper, Mapper):
        raise InvalidRule(f"a rule is bound to a mapped class, not to {model!r}")
    made = [[_donjon.Template(text) for text in listed(texts)] for texts in (keys, patterns, tags)]
    rule = Rule(mapper, *made)
    if not any(made):
        raise InvalidRule(f"the rule for {model.__qualname__} invalidates nothing: give keys, patterns or tags")
    columns = {column.key for column in mapper.column_attrs}
    for name in sorted(rule.names - columns):
        raise InvalidRule(
            f"the rule for {model.__qualname__} names {name!r}, which is none of its columns: {sorted(columns)}"
        )
    return rule
