"""Secrets that tasks name as `secret://name`: known to the worker, never to the scheduler."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from foliot_worker.settings import SECRET_VARIABLE_PREFIX

SCHEME: Final = "secret://"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SECRET_BYTES_MAX: Final = 64 * 1024
"""More than any credential has; keeps a mistaken file out of the memory."""


class SecretError(Exception):
    """A secret cannot be had; the message names it and never holds a value."""


class Secrets:
    """Finds secrets: first in the variables `FOLIOT_SECRET_<NAME>`, then among the files of a directory.

    In a variable's name letters are upper case and everything but letters and digits is `_`. A file's last line end is not
    part of the secret. Files are read each time, so that a rotated secret counts at once.
    """

    def __init__(self, environ: Mapping[str, str], directory: Path | None) -> None:
        self._variables = {name: value for name, value in environ.items() if name.startswith(SECRET_VARIABLE_PREFIX)}
        self._directory = directory

    def resolve(self, reference: str) -> str:
        """Answer the value of `secret://name`. Raises `SecretError`."""
        name = reference.removeprefix(SCHEME)
        # Also keeps the name inside the directory: it holds no separator and does not begin with a dot.
        if name == reference or _NAME.fullmatch(name) is None:
            raise SecretError(f"{SCHEME} must be followed by a name of letters, digits, '.', '_' and '-'")
        variable = SECRET_VARIABLE_PREFIX + re.sub(r"[^A-Za-z0-9]", "_", name).upper()
        value = self._variables.get(variable)
        if value is not None:
            return value
        if self._directory is not None:
            try:
                with (self._directory / name).open("rb") as file:
                    data = file.read(_SECRET_BYTES_MAX + 1)
                if len(data) > _SECRET_BYTES_MAX:
                    raise SecretError(f"the secret {name} has over {_SECRET_BYTES_MAX} bytes")
                return data.decode().removesuffix("\n").removesuffix("\r")
            except FileNotFoundError:
                pass
            except (OSError, UnicodeDecodeError) as error:
                raise SecretError(f"the secret {name} cannot be read: {type(error).__name__}") from error
        raise SecretError(f"this worker has no secret {name}")

    def expanded(self, value: str) -> str:
        """Answer the secret if `value` is a reference to one, and `value` itself if not. Raises `SecretError`."""
        return self.resolve(value) if value.startswith(SCHEME) else value
