"""Puts together who checks credentials, from the settings: files are read here, and what is wrong with them is named."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from foliot.kit.lifecycle import Part, run_forever
from foliot.kit.settings import SettingsError, file_path
from foliot_scheduler.api.credentials import Authenticator
from foliot_scheduler.settings import BOOTSTRAP_KEY_CHARS_MIN
from foliot_scheduler.store import api_keys

if TYPE_CHECKING:
    from pathlib import Path

    from foliot.kit.clock import Clock
    from foliot_scheduler.api.credentials import CheckToken
    from foliot_scheduler.settings import SchedulerSettings
    from foliot_scheduler.store.pool import Pool

SECRET_FILE_BYTES_MAX = 64 * 1024
"""The largest file with a secret: anything longer is the wrong file."""


class Entrance(Part):
    """What checks credentials, once started; nothing where authentication is off."""

    def __init__(self, settings: SchedulerSettings, pool: Pool, clock: Clock) -> None:
        super().__init__("api.entrance")
        self._settings = settings
        self._pool = pool
        self._clock = clock
        self._key_set: Part | None = None
        self.authenticator: Authenticator | None = None

    async def on_start(self) -> None:
        """Read secrets and keys. Raises SettingsError naming the option at fault."""
        settings = self._settings
        if settings.auth_required:
            self.authenticator = Authenticator(
                functools.partial(api_keys.find_key, self._pool),
                self._clock,
                tokens=await self._tokens(),
                bootstrap_key=_bootstrap_key(settings),
                worker_key=settings.worker_key,
            )

    async def run(self) -> None:
        """Keep the keys of tokens fresh."""
        if self._key_set is None:
            await run_forever()
        else:
            await self._key_set.wait_ended()

    async def on_stop(self) -> None:
        """Read no more keys."""
        if self._key_set is not None:
            await self._key_set.stop()

    async def _tokens(self) -> CheckToken | None:
        settings = self._settings
        if settings.jwt_secret_file is None and settings.jwt_jwks is None:
            return None
        # Only here: loading the cryptography costs a tenth of a second that only those who use tokens should wait for.
        from foliot_scheduler.api.key_sets import KeySet  # noqa: PLC0415
        from foliot_scheduler.api.tokens import FindKey, OneSecret, TokenChecker  # noqa: PLC0415

        keys: FindKey
        if settings.jwt_secret_file is not None:
            option = "--jwt-secret-file"
            try:
                keys = OneSecret(read_secret(option, settings.jwt_secret_file))
            except ValueError as error:
                raise SettingsError(option, str(error)) from None
        else:
            assert settings.jwt_jwks is not None
            is_url = settings.jwt_jwks.startswith(("http://", "https://"))
            key_set = KeySet(settings.jwt_jwks if is_url else file_path(settings.jwt_jwks), self._clock)
            try:
                await key_set.start()
            except OSError as error:
                raise SettingsError("--jwt-jwks", f"cannot be read: {error.strerror}") from error
            except ValueError as error:
                raise SettingsError("--jwt-jwks", str(error)) from error
            self._key_set = keys = key_set
        return TokenChecker(keys, self._clock, audiences=settings.jwt_audience, issuer=settings.jwt_issuer)


def _bootstrap_key(settings: SchedulerSettings) -> str | None:
    if settings.bootstrap_key_file is None:
        return settings.bootstrap_key
    option = "--bootstrap-key-file"
    key = read_secret(option, settings.bootstrap_key_file).decode(errors="replace")
    if len(key) < BOOTSTRAP_KEY_CHARS_MIN:
        raise SettingsError(option, f"the key in it must have at least {BOOTSTRAP_KEY_CHARS_MIN} characters")
    return key


def read_secret(option: str, path: Path) -> bytes:
    """Read a file that holds a secret, without the line ends that editors add. Raises SettingsError naming the option."""
    try:
        with path.open("rb") as file:
            content = file.read(SECRET_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise SettingsError(option, f"cannot be read: {error.strerror}") from error
    if len(content) > SECRET_FILE_BYTES_MAX:
        raise SettingsError(option, f"must be at most {SECRET_FILE_BYTES_MAX // 1024} KiB")
    return content.rstrip(b"\r\n")
