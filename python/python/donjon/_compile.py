"""Key functions: from the arguments of a call to its cache key, at the speed of a call and an f-string.

Binding arguments by `inspect.Signature.bind` takes longer than the look-up that it prepares. So each cached function gets a
function of its own, compiled with the same parameters: the interpreter binds, with the same errors for wrong arguments.
"""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from . import _donjon
from ._errors import InvalidKey, InvalidTemplate
from ._keys import key as make_key
from ._keys import part, typed_part

__all__ = ["automatic_key", "is_method", "template_key"]

KeyFunction = Callable[..., str]

# An integer of any size has a text, but only one this small is certain to stay under the limit of a part; and no text of
# letters and digits under 33 characters, 4 bytes each at most, needs escaping or hashing.
_SMALL = 2**62
_SHORT = 33

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def is_method(function: Callable[..., Any]) -> bool:
    """Whether the first parameter is named as methods name theirs; a decorator has nothing else to see it by."""
    return next(iter(inspect.signature(function).parameters), None) in ("self", "cls")


def template_key(function: Callable[..., Any], template: str) -> KeyFunction:
    """Renders `template` with the arguments of a call of `function`.

    Raises:
        InvalidTemplate: It cannot be read, or names no parameter of the function.

    Examples:
        >>> def profile(user_id: int, lang: str = "en"): ...
        >>> to_key = template_key(profile, "user:{user_id}:{lang}")
        >>> to_key(5), to_key(user_id=5, lang="a:b")
        ('user:5:en', 'user:5:a%3Ab')
    """
    parsed = _donjon.Template(template)
    signature = inspect.signature(function)
    for name in parsed.names:
        if name not in signature.parameters:
            raise InvalidTemplate(f"{template!r} names {name!r}, which is no parameter of {function.__qualname__}")
        if signature.parameters[name].kind in _VARIADIC:
            raise InvalidTemplate(f"{template!r} names {name!r}, which stands for many arguments and has no one text")
    return _compile(function, signature, _pieces(parsed), part, plain_text=True)


def automatic_key(function: Callable[..., Any]) -> KeyFunction:
    """Makes a key of module, name and every argument of `function`; arguments of two types never share one.

    Raises:
        InvalidTemplate: A method, or a function that takes any number of arguments: what counts must be said.
    """
    signature = inspect.signature(function)
    if is_method(function):
        raise InvalidTemplate(
            f"{function.__qualname__} is a method: give a key template, such as "
            f'"{function.__name__}:{{id}}", that says what tells its results apart'
        )
    if any(parameter.kind in _VARIADIC for parameter in signature.parameters.values()):
        raise InvalidTemplate(f"{function.__qualname__} takes any number of arguments: give a key template")
    pieces = [make_key(function.__module__, function.__qualname__)]
    for name in signature.parameters:
        pieces[-1] += ":"
        pieces += [name, ""]
    return _compile(function, signature, pieces, typed_part, plain_text=False)


def _pieces(template: _donjon.Template) -> list[str]:
    """The template taken apart: literal, name, literal, name, …, literal.

    It is read by the core alone: it renders marks in the place of the names, and the text is cut where they are.
    """
    marks = {name: uuid.uuid4().hex for name in template.names}
    pieces = [template.render(marks)]
    while True:
        found = [(at, name) for name, mark in marks.items() if (at := pieces[-1].find(mark)) >= 0]
        if not found:
            return pieces
        at, name = min(found)
        rest = pieces.pop()
        pieces += [rest[:at], name, rest[at + len(marks[name]) :]]


def _compile(
    function: Callable[..., Any],
    signature: inspect.Signature,
    pieces: Sequence[str],
    to_part: Callable[[object], str],
    *,
    plain_text: bool,
) -> KeyFunction:
    """A function with the parameters of `function` that gives `pieces` with the parts of the named ones.

    `plain_text`: short texts of letters and digits stand for themselves.
    """

    def named_part(name: str, value: object) -> str:
        try:
            return to_part(value)
        except InvalidKey as error:
            raise InvalidKey(f"argument {name!r} of {function.__qualname__}: {error}") from None

    scope: dict[str, Any] = {"_donjon_part": named_part, "_donjon_type": type, "_donjon_len": len}
    scope |= {"_donjon_int": int, "_donjon_str": str}
    parameters = []
    for parameter in signature.parameters.values():
        if parameter.default is not parameter.empty:
            default = f"_donjon_default_{parameter.name}"
            scope[default] = parameter.default
            parameter = parameter.replace(default=_Named(default))
        parameters.append(parameter.replace(annotation=parameter.empty))
    head = signature.replace(parameters=parameters, return_annotation=signature.empty)

    lines = [f"def _donjon_key{head}:"]
    for name in dict.fromkeys(pieces[1::2]):
        simple = f"_donjon_type({name}) is _donjon_int and {-_SMALL} < {name} < {_SMALL}"
        if plain_text:
            simple += f" or _donjon_type({name}) is _donjon_str and _donjon_len({name}) < {_SHORT} and {name}.isalnum()"
        lines.append(f"    if not ({simple}): {name} = _donjon_part({name!r}, {name})")
    shown = "".join(f" f'{{{piece}}}'" if index % 2 else f" {piece!r}" for index, piece in enumerate(pieces))
    lines.append(f"    return{shown}")
    exec(compile("\n".join(lines), f"<key of {function.__qualname__}>", "exec"), scope)
    made: KeyFunction = scope["_donjon_key"]
    made.__name__ = function.__name__
    made.__qualname__ = function.__qualname__
    return made


class _Named:
    """A default value that is written as a name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name
