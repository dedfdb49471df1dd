"""The gateway's word to the scheduler that it is up, so that the system's status can count gateways."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Final

from foliot.kit.errors import FoliotError
from foliot.kit.lifecycle import Part
from foliot.kit.logs import get_logger
from foliot.v1.system_pb2 import AnnounceGatewayRequest

if TYPE_CHECKING:
    from foliot.client import Client
    from foliot.kit.clock import Clock

EVERY_S: Final = 10.0
"""How often: three times in the 30 s after which the scheduler takes a gateway for gone."""

_TIMEOUT_S: Final = 5.0
_HOSTNAME_CHARS_MAX: Final = 200
_NAME_BYTES: Final = 4

_LOG = get_logger("gateway.announcer")


class Announcer(Part):
    """Announces this gateway every EVERY_S seconds, with the client's credentials.

    A scheduler that refuses it, or does not answer, is no trouble: the gateway serves all the same and is only not counted.
    """

    def __init__(self, client: Client, clock: Clock) -> None:
        """Take the way to the scheduler; the gateway's name is made up here."""
        super().__init__("gateway.announcer")
        self._client = client
        self._clock = clock
        self._name = f"{platform.node()[:_HOSTNAME_CHARS_MAX]}-{clock.random_bytes(_NAME_BYTES).hex()}"

    async def run(self) -> None:
        """Announce for ever."""
        request = AnnounceGatewayRequest(gateway_id=self._name)
        while True:
            try:
                await self._client.system.AnnounceGateway(request, timeout=_TIMEOUT_S)
            except FoliotError as error:
                _LOG.debug("announcer.failed", reason=error.reason.name)
            await self._clock.sleep(EVERY_S)
