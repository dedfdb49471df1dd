"""Settings: one frozen dataclass for each component, filled from flags, variables and a TOML file.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class GatewaySettings:
        http: HostPort = option(host_port, default=HostPort("127.0.0.1", 8080))
        \"\"\"Where the HTTP API listens.\"\"\"

The field `http` is the flag `--http`, the variable `FOLIOT_HTTP` and the TOML key `http`; the first of them that is
given wins, then the default. The docstring under the field is its help text. A wrong value, an unknown variable or an
unknown key stops the start with a `SettingsError` that names the option as the user wrote it.

How values are written is in `foliot.kit.setting_values`, which is given here too.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import difflib
import inspect
import itertools
import textwrap
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from foliot.kit.setting_values import (
    DiscreetError,
    HostPort,
    boolean,
    byte_size,
    choice,
    comma_list,
    duration,
    file_path,
    host_port,
    host_port_list,
    key_value,
    network_list,
    non_negative_int,
    positive_int,
    show,
    text,
    url,
)

__all__ = [
    "FieldError",
    "HostPort",
    "Option",
    "SettingsError",
    "add_flags",
    "boolean",
    "byte_size",
    "choice",
    "comma_list",
    "duration",
    "file_path",
    "host_port",
    "host_port_list",
    "key_value",
    "load",
    "network_list",
    "non_negative_int",
    "option",
    "options",
    "positive_int",
    "text",
    "url",
]

VARIABLE_PREFIX: Final = "FOLIOT_"
_METADATA_KEY: Final = "foliot.option"

S = TypeVar("S")


class SettingsError(Exception):
    """A setting is wrong; `option` is the flag, variable or key as the user wrote it, `message` says what is wrong."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(f"{option}: {message}")
        self.option = option
        self.message = message


class FieldError(ValueError):
    """Raised by a settings class's `__post_init__` when fields do not go together; `field` is the one to name."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True)
class _Rule:
    """What `option` keeps in a dataclass field."""

    parse: Callable[[Any], Any]
    minimum: Any
    maximum: Any
    secret: bool
    placeholder: str


@dataclass(frozen=True, slots=True)
class Option:
    """A setting as users see it."""

    name: str
    """The field's name, which is the TOML key."""

    flag: str
    """Such as `--database-url`."""

    variable: str
    """Such as `FOLIOT_DATABASE_URL`."""

    required: bool
    """Whether there is no default."""

    default: str
    """The default as it would be written; empty if there is none."""

    help: str
    """The field's docstring on one line."""

    rule: _Rule
    """How its values are read."""


def option(
    parse: Callable[[Any], Any],
    *,
    default: Any = dataclasses.MISSING,
    minimum: Any = None,
    maximum: Any = None,
    secret: bool = False,
    placeholder: str = "",
) -> Any:
    """Declare a field of a settings dataclass; without `default` it is required.

    `parse` takes what was written (a text, or a TOML value) and raises ValueError. `minimum` and `maximum` bound the
    parsed value, both included. A `secret` is left out of messages and of the settings' repr. `placeholder`
    stands for the value in help texts.
    """
    rule = _Rule(parse, minimum, maximum, secret, placeholder)
    # A mutable default (a dict of labels) is shared by the instances, which are frozen and do not change it.
    given: dict[str, Any] = {} if default is dataclasses.MISSING else {"default_factory": lambda: default}
    return dataclasses.field(metadata={_METADATA_KEY: rule}, repr=not secret, **given)


def options(cls: type[object]) -> tuple[Option, ...]:
    """Answer the settings of a dataclass in the order of its fields."""
    docs = _field_docs(cls)
    found = []
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # fields() checks
        rule: _Rule = field.metadata[_METADATA_KEY]
        required = field.default_factory is dataclasses.MISSING
        default = None if field.default_factory is dataclasses.MISSING else field.default_factory()
        found.append(
            Option(
                name=field.name,
                flag="--" + field.name.replace("_", "-"),
                variable=VARIABLE_PREFIX + field.name.upper(),
                required=required,
                default="" if rule.secret else show(default),
                help=docs.get(field.name, ""),
                rule=rule,
            )
        )
    return tuple(found)


def add_flags(parser: argparse.ArgumentParser, cls: type[object]) -> None:
    """Give a command the flags of a settings class; `vars` of the parsed arguments is what `load` takes as `flags`.

    Values stay texts until `load` reads them, so that all sources are judged, and complained of, alike. A flag that
    takes a list may be repeated.
    """
    for one in options(cls):
        help_text = one.help + (f" Default: {one.default}." if one.default else "")
        common: dict[str, Any] = {
            "dest": one.name,
            "default": argparse.SUPPRESS,
            "help": f"{help_text} [{one.variable}]".replace("%", "%%").strip(),
        }
        if one.rule.parse is boolean:
            parser.add_argument(one.flag, action=argparse.BooleanOptionalAction, **common)
            continue
        common["metavar"] = one.rule.placeholder or one.name.rsplit("_", 1)[-1].upper()
        if one.rule.parse in {comma_list, key_value, host_port_list}:
            common["action"] = "append"
        parser.add_argument(one.flag, **common)


def load(
    cls: type[S],
    *,
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    toml_path: Path | None,
    also_known: Collection[str] = (),
) -> S:
    """Fill a settings class: a flag wins over a variable, that over a TOML key, that over the default.

    `flags` holds values by field name; names that are no fields are left alone. An empty variable counts as not set
    (compose files pass them so). `also_known` names options of other commands, which may stand in the same
    environment and file. Raises `SettingsError`.
    """
    declared = options(cls)
    known = {one.name for one in declared} | set(also_known)
    keys = _read_toml(toml_path)
    _refuse_unknown(keys, known, f"key {{}} in {toml_path}")
    variables = {name: value for name, value in environ.items() if name.startswith(VARIABLE_PREFIX) and value}
    _refuse_unknown(variables, {VARIABLE_PREFIX + name.upper() for name in known}, "{}")
    values: dict[str, object] = {}
    written_as: dict[str, str] = {}
    for one in declared:
        for written, given in (
            (one.flag, flags.get(one.name)),
            (one.variable, variables.get(one.variable)),
            (f"key {one.name} in {toml_path}", keys.get(one.name)),
        ):
            if given is not None:
                written_as[one.name] = written
                values[one.name] = _parse(one, written, given)
                break
        else:
            if one.required:
                message = f"is required (or the variable {one.variable}, or the key {one.name} of the --config file)"
                raise SettingsError(one.flag, message)
    try:
        return cls(**values)
    except FieldError as error:
        flag = "--" + error.field.replace("_", "-")
        raise SettingsError(written_as.get(error.field, flag), error.message) from error


def _parse(one: Option, written: str, given: object) -> object:
    rule = one.rule
    try:
        value = rule.parse(given)
        if rule.minimum is not None and value < rule.minimum:
            raise ValueError(f"must be at least {show(rule.minimum)}")
        if rule.maximum is not None and value > rule.maximum:
            raise ValueError(f"must be at most {show(rule.maximum)}")
    except DiscreetError as error:
        raise SettingsError(written, str(error)) from None
    except ValueError as error:
        # A parser's message may quote what it was given.
        message = "has a wrong value (not shown, as it is a secret)" if rule.secret else str(error)
        raise SettingsError(written, message) from (None if rule.secret else error)
    return value


def _refuse_unknown(given: Iterable[str], known: Collection[str], written: str) -> None:
    """Raise `SettingsError` for the first name that is not known; `written` is how to name it, `{}` standing for it."""
    for name in sorted(set(given).difference(known)):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SettingsError(written.format(name), f"there is no such option{hint}")


def _read_toml(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"--config {path}", f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"--config {path}", f"is not TOML: {error}") from error


def _field_docs(cls: type[object]) -> dict[str, str]:
    """Read the docstrings under a class's fields, its bases' included, from their source; Python keeps them nowhere."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        docs.update(_docs_in(tree.body[0]))
    return docs


def _docs_in(node: ast.stmt) -> Iterator[tuple[str, str]]:
    body = node.body if isinstance(node, ast.ClassDef) else []
    for field, below in itertools.pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            yield field.target.id, " ".join(below.value.value.split())
