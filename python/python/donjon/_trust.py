"""Trust: makes the typed value of what was stored by a reader of the very same type, without validating it again.

Owns what of a pydantic schema validates and what builds. What builds stays: models and dataclasses, dates from text, custom
types. Bounds and the validators in the bodies of classes go. Where one cannot be told from the other, validation stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["trusting"]

Read = Callable[[Any], Any]

_BOUNDS = frozenset(
    [
        "allow_inf_nan",
        "decimal_places",
        "ge",
        "gt",
        "le",
        "lt",
        "max_digits",
        "max_length",
        "min_length",
        "multiple_of",
        "pattern",
        "strict",
    ]
)
# What holds no schemas of its own; a `strict` in the `config` of a model is a bound like any other.
_OPAQUE = frozenset(
    {"cls", "default", "default_factory", "expected", "function", "members", "metadata", "serialization"}
)
_JSON = frozenset(
    [
        "any",
        "bool",
        "definition-ref",
        "definitions",
        "dict",
        "float",
        "int",
        "list",
        "literal",
        "none",
        "nullable",
        "str",
        "typed-dict",
        "typed-dict-field",
    ]
)


def trusting(adapter: TypeAdapter[Any], check: Read, itself: Read) -> Read:
    """How what was stored becomes the type; `itself` where it is the type already, `check` where that cannot be known."""
    from pydantic_core import SchemaError, SchemaValidator, ValidationError

    schema: Any = adapter.core_schema
    if all(_is_json(node) for node in _nodes(schema)):
        return itself
    builder = _Builder(schema)
    built = builder.build(schema)
    try:
        try:
            # Else the validators that classes have already would be taken in the place of these.
            validator = SchemaValidator(built, _use_prebuilt=False)
        except TypeError:
            validator = SchemaValidator(built)
    except SchemaError:
        return check
    read = validator.validate_python

    def trust(value: Any) -> Any:
        try:
            return read(value, by_alias=True, by_name=True)
        except ValidationError:
            return check(value)

    return trust


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema within a schema, itself included."""
    if isinstance(schema, dict):
        if isinstance(schema.get("type"), str):
            yield schema
        named = isinstance(schema.get("type"), str)  # else a map, of fields for one, in which any name may stand
        for name, part in schema.items():
            if not (named and name in _OPAQUE):
                yield from _nodes(part)
    elif isinstance(schema, (list, tuple)):
        for part in schema:
            yield from _nodes(part)


def _is_json(node: dict[str, Any]) -> bool:
    """Whether what the schema takes from JSON, it takes as it is."""
    if "serialization" in node or node["type"] not in _JSON:
        return False
    if node["type"] == "literal":
        return all(type(each) in (str, int, bool, type(None)) for each in node["expected"])
    # The keys of JSON are texts.
    return node["type"] != "dict" or node.get("keys_schema", {}).get("type") in ("str", "any")


class _Builder:
    """Makes the schema that builds out of one that validates."""

    def __init__(self, schema: Any) -> None:
        nodes = list(_nodes(schema))
        classes = [node["cls"] for node in nodes if node["type"] in ("model", "dataclass")]
        self._validators = [function for cls in classes for function in _validators(cls)]
        definitions = {node["ref"]: node for node in nodes if "ref" in node}
        # A union takes the first that validates, or the best: what its members refer to has to.
        self._whole: set[str] = set()
        pending = [node for node in nodes if node["type"] == "union"]
        while pending:
            for node in _nodes(pending.pop()):
                name = node.get("schema_ref")
                if name is not None and name not in self._whole and name in definitions:
                    self._whole.add(name)
                    pending.append(definitions[name])

    def build(self, schema: Any) -> Any:
        if isinstance(schema, (list, tuple)):
            return type(schema)(self.build(part) for part in schema)
        if not isinstance(schema, dict):
            return schema
        kind = schema.get("type")
        if kind == "union" or "serialization" in schema or schema.get("ref") in self._whole:
            return schema
        if kind in ("function-after", "function-before", "function-wrap") and self._validates(schema):
            inner = self.build(schema["schema"])
            return inner | {"ref": schema["ref"]} if "ref" in schema else inner
        named = isinstance(kind, str)
        return {
            name: part if named and name in _OPAQUE else self.build(part)
            for name, part in schema.items()
            if name not in _BOUNDS or isinstance(part, dict)
        }

    def _validates(self, schema: dict[str, Any]) -> bool:
        return any(schema["function"]["function"] == function for function in self._validators)


def _validators(cls: type) -> Iterator[Any]:
    """The validators in the body of a class; without those that may set up what is not stored."""
    found = getattr(cls, "__pydantic_decorators__", None)
    if found is None:
        return
    for each in found.field_validators.values():
        yield each.func
    if not getattr(cls, "__private_attributes__", None):
        for each in found.model_validators.values():
            yield each.func
