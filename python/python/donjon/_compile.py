"""Key functions: from the arguments of a call to its cache key, at the speed of a call and an f-string.

Binding arguments by `inspect.Signature.bind` takes longer than the look-up that it prepares. So each cached function gets a
function of its own, compiled with the same parameters: the interpreter binds, with the same errors for wrong arguments.
"""

from __future__ import annotations

import inspect
import keyword
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from . import _donjon
from ._arguments import left_out
from ._errors import InvalidKey, InvalidTemplate
from ._keys import key as make_key
from ._keys import part, typed_part
from ._notices import logger

__all__ = ["automatic_key", "result_tag", "template_key"]

KeyFunction = Callable[..., str]

# An integer of any size has a text, but only one this small is certain to stay under the limit of a part; and no text of
# letters and digits under 33 characters, 4 bytes each at most, needs escaping or hashing.
_SMALL = 2**62
_SHORT = 33

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def template_key(function: Callable[..., Any], template: str) -> KeyFunction:
    """Renders `template` with the arguments of a call of `function`.

    Raises:
        InvalidTemplate: It cannot be read, or names no parameter of the function.

    Examples:
        >>> def profile(user_id: int, lang: str = "en"): ...
        >>> to_key = template_key(profile, "user:{user_id}:{lang}")
        >>> to_key(5), to_key(user_id=5, lang="a:b")
        ('user:5:en', 'user:5:a%3Ab')
        >>> def born(day): ...
        >>> from datetime import date
        >>> template_key(born, "born:{day.year}")(date(1815, 12, 10))
        'born:1815'
    """
    parsed = _donjon.Template(template)
    signature = inspect.signature(function)
    _check_names(function, signature, template, parsed.names)
    return _compile(function, signature, _pieces(parsed), part, plain_text=True)


def result_tag(function: Callable[..., Any], template: str) -> KeyFunction | None:
    """As `template_key`, where the template names `result`: takes what the function returned before the arguments of the call.

    None where it does not, or where that is a parameter of the function.
    """
    parsed = _donjon.Template(template)
    signature = inspect.signature(function)
    if "result" in signature.parameters or all(name.partition(".")[0] != "result" for name in parsed.names):
        return None
    result = inspect.Parameter("result", inspect.Parameter.POSITIONAL_ONLY)
    signature = signature.replace(parameters=[result, *signature.parameters.values()])
    _check_names(function, signature, template, parsed.names)
    return _compile(function, signature, _pieces(parsed), part, plain_text=True)


def automatic_key(function: Callable[..., Any]) -> KeyFunction:
    """Makes a key of module, name and every argument of `function` that says what its result is.

    Arguments of two types never share a key.

    Raises:
        InvalidTemplate: The function takes any number of arguments: what counts must be said.
    """
    signature = inspect.signature(function)
    skipped = left_out(function)
    if any(parameter.kind in _VARIADIC for parameter in signature.parameters.values()):
        raise InvalidTemplate(f"{function.__qualname__} takes any number of arguments: give a key template")
    loud = [name for name, why in skipped.items() if not why.silent]
    if loud:
        logger.warning(
            "the key of %s leaves out what FastAPI injects: %s. Where that says what is returned, as a user does, name it in "
            'a template, such as "%s:{%s.id}"; where it does not, mark it: Annotated[…, NoKey]',
            function.__qualname__,
            ", ".join(loud),
            function.__name__,
            loud[0],
        )
    pieces = [make_key(function.__module__, function.__qualname__)]
    for name in signature.parameters:
        if name not in skipped:
            pieces[-1] += ":"
            pieces += [name, ""]
    return _compile(function, signature, pieces, typed_part, plain_text=False)


def _check_names(
    function: Callable[..., Any], signature: inspect.Signature, template: str, names: Sequence[str]
) -> None:
    for path in names:
        if any(map(keyword.iskeyword, path.split("."))):
            raise InvalidTemplate(f"{template!r} names {path!r}, which cannot be written in Python")
        name = path.partition(".")[0]
        if name not in signature.parameters:
            raise InvalidTemplate(f"{template!r} names {name!r}, which is no parameter of {function.__qualname__}")
        if signature.parameters[name].kind in _VARIADIC:
            raise InvalidTemplate(f"{template!r} names {name!r}, which stands for many arguments and has no one text")


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
    hint = (
        "" if plain_text else ". What does not say what is returned, leave out: a key template, or Annotated[…, NoKey]"
    )

    def named_part(name: str, value: object) -> str:
        try:
            return to_part(value)
        except InvalidKey as error:
            raise InvalidKey(f"argument {name!r} of {function.__qualname__}: {error}{hint}") from None

    def missing(name: str, error: AttributeError) -> InvalidKey:
        return InvalidKey(f"{name!r} is nothing that {function.__qualname__} was given: {error}")

    scope: dict[str, Any] = {"_donjon_part": named_part, "_donjon_type": type, "_donjon_len": len}
    scope |= {"_donjon_missing": missing, "_donjon_error": AttributeError}
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
    texts = {}
    for place, path in enumerate(dict.fromkeys(pieces[1::2])):
        name = texts[path] = path if path.isidentifier() else f"_donjon_{place}"
        if name != path:
            lines.append(f"    try: {name} = {path}")
            lines.append(f"    except _donjon_error as error: raise _donjon_missing({path!r}, error) from None")
    for path, name in texts.items():
        simple = f"_donjon_type({name}) is _donjon_int and {-_SMALL} < {name} < {_SMALL}"
        if plain_text:
            simple += f" or _donjon_type({name}) is _donjon_str and _donjon_len({name}) < {_SHORT} and {name}.isalnum()"
        lines.append(f"    if not ({simple}): {name} = _donjon_part({path!r}, {name})")
    shown = "".join(f" f'{{{texts[piece]}}}'" if at % 2 else f" {piece!r}" for at, piece in enumerate(pieces))
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
