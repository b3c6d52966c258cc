"""Key functions: from the arguments of a call to its cache key, at the speed of a call and an f-string.

Binding arguments by `inspect.Signature.bind` takes longer than the look-up that it prepares. So each cached function gets a
function of its own, compiled with the same parameters: the interpreter binds, with the same errors for wrong arguments. What is done with
the key can be compiled into that function as well, which spares a call and the packing of the arguments.
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

__all__ = ["KeySource", "automatic_key", "key_source", "result_tag", "template_key"]

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
    return _by_template(function, inspect.signature(function), _donjon.Template(template), template).alone()


def key_source(function: Callable[..., Any], template: str | None) -> KeySource:
    """Where the keys of a cached function come from: its template, or else its arguments."""
    if template is None:
        return _by_arguments(function)
    return _by_template(function, inspect.signature(function), _donjon.Template(template), template)


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
    return _by_template(function, signature, parsed, template).alone()


def automatic_key(function: Callable[..., Any]) -> KeyFunction:
    """Makes a key of module, name and every argument of `function` that says what its result is.

    Arguments of two types never share a key.

    Raises:
        InvalidTemplate: The function takes any number of arguments: what counts must be said.
    """
    return _by_arguments(function).alone()


def _by_arguments(function: Callable[..., Any]) -> KeySource:
    signature = inspect.signature(function)
    skipped = left_out(function)
    if any(parameter.kind in _VARIADIC for parameter in signature.parameters.values()):
        raise InvalidTemplate(f"{function.__qualname__} takes any number of arguments: give a key template")
    for name, why in skipped.items():
        if why.notice == "refuse":
            raise InvalidTemplate(
                f"{function.__qualname__} takes {name!r} from FastAPI, which may say whose data it returns: name it in a template, "
                f'such as "{function.__name__}:{{{name}.id}}", or mark it as of no matter: Annotated[…, NoKey]'
            )
    loud = [name for name, why in skipped.items() if why.notice == "log"]
    if loud:
        logger.warning(
            "the key of %s leaves out what FastAPI injects: %s. Where that says what is returned, name it in a template; where it "
            "does not, mark it: Annotated[…, NoKey]",
            function.__qualname__,
            ", ".join(loud),
        )
    pieces = [make_key(function.__module__, function.__qualname__)]
    for name in signature.parameters:
        if name not in skipped:
            pieces[-1] += ":"
            pieces += [name, ""]
    return KeySource(function, signature, pieces, typed_part, plain_text=False)


def _by_template(
    function: Callable[..., Any], signature: inspect.Signature, parsed: _donjon.Template, template: str
) -> KeySource:
    _check_names(function, signature, template, parsed.names)
    return KeySource(function, signature, _pieces(parsed), part, plain_text=True)


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


class KeySource:
    """The code that makes a key of the arguments of a call, to be compiled alone or with what is done with it.

    Names in it begin with `_donjon_`, as any other may be that of a parameter.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        signature: inspect.Signature,
        pieces: Sequence[str],
        to_part: Callable[[object], str],
        *,
        plain_text: bool,
    ) -> None:
        """`pieces` are texts with the names of parts between them; `plain_text`: short ones of letters and digits stand for themselves."""
        hint = (
            ""
            if plain_text
            else ". What does not say what is returned, leave out: a key template, or Annotated[…, NoKey]"
        )

        def named_part(name: str, value: object) -> str:
            try:
                return to_part(value)
            except InvalidKey as error:
                raise InvalidKey(f"argument {name!r} of {function.__qualname__}: {error}{hint}") from None

        def missing(name: str, error: AttributeError) -> InvalidKey:
            return InvalidKey(f"{name!r} is nothing that {function.__qualname__} was given: {error}")

        self._function = function
        self._parameters = list(signature.parameters.values())
        self._scope: dict[str, Any] = {"_donjon_part": named_part, "_donjon_type": type, "_donjon_len": len}
        self._scope |= {"_donjon_missing": missing, "_donjon_error": AttributeError}
        self._scope |= {"_donjon_int": int, "_donjon_str": str}
        parameters = []
        for parameter in self._parameters:
            if parameter.default is not parameter.empty:
                default = f"_donjon_default_{parameter.name}"
                self._scope[default] = parameter.default
                parameter = parameter.replace(default=_Named(default))
            parameters.append(parameter.replace(annotation=parameter.empty))
        self._head = signature.replace(parameters=parameters, return_annotation=signature.empty)

        self._lines: list[str] = []
        texts = {}
        for place, path in enumerate(dict.fromkeys(pieces[1::2])):
            text = texts[path] = f"_donjon_{place}"
            if path.isidentifier():
                self._lines.append(f"{text} = {path}")
            else:
                self._lines.append(f"try: {text} = {path}")
                self._lines.append(f"except _donjon_error as error: raise _donjon_missing({path!r}, error) from None")
            simple = f"_donjon_type({text}) is _donjon_int and {-_SMALL} < {text} < {_SMALL}"
            if plain_text:
                letters = f"_donjon_len({text}) < {_SHORT} and {text}.isalnum()"
                simple += f" or _donjon_type({text}) is _donjon_str and {letters}"
            self._lines.append(f"if not ({simple}): {text} = _donjon_part({path!r}, {text})")
        self._key = "".join(f" f'{{{texts[piece]}}}'" if at % 2 else f" {piece!r}" for at, piece in enumerate(pieces))

    def alone(self) -> KeyFunction:
        """A function that gives the key."""
        return self._compiled("def", [*self._lines, f"return{self._key}"], {})

    def within(self, kind: str, body: str, names: dict[str, Any]) -> Callable[..., Any]:
        """A function that makes the key and goes on with `body`, in which a `$` stands before its own names.

        `$key` is the key, `$args` and `$kwargs` are the arguments.

        Args:
            kind: `def` or `async def`.
            body: What is done then.
            names: What the others of its names stand for.
        """
        positional, named = [], []
        for parameter in self._parameters:
            if parameter.kind is parameter.VAR_POSITIONAL:
                positional.append(f"*{parameter.name}")
            elif parameter.kind is parameter.VAR_KEYWORD:
                named.append(f"**{parameter.name}")
            elif parameter.kind is parameter.KEYWORD_ONLY:
                named.append(f"{parameter.name!r}: {parameter.name}")
            else:
                positional.append(parameter.name)
        body = body.replace("$args", f"({''.join(f'{each}, ' for each in positional)})")
        body = body.replace("$kwargs", f"{{{', '.join(named)}}}").replace("$", "_donjon_")
        lines = [*self._lines, f"_donjon_key ={self._key}", *body.strip().splitlines()]
        return self._compiled(kind, lines, {f"_donjon_{name}": value for name, value in names.items()})

    def _compiled(self, kind: str, lines: list[str], names: dict[str, Any]) -> Callable[..., Any]:
        source = "\n    ".join([f"{kind} _donjon_function{self._head}:", *lines])
        scope = self._scope | names
        exec(compile(source, f"<key of {self._function.__qualname__}>", "exec"), scope)
        made: Callable[..., Any] = scope["_donjon_function"]
        made.__name__ = self._function.__name__
        made.__qualname__ = self._function.__qualname__
        return made


class _Named:
    """A default value that is written as a name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name
