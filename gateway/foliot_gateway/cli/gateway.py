"""`foliot gateway`: one HTTP gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foliot.client import Client, Tls
from foliot.kit.lifecycle import Part, run_forever
from foliot.kit.tls import client_tls
from foliot_gateway.app import GatewayApp
from foliot_gateway.cli.starting import run_parts, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foliot_gateway.settings import GatewaySettings


class ClientPart(Part):
    """The way to the scheduler, open for as long as the gateway needs it."""

    def __init__(self, client: Client) -> None:
        super().__init__("client")
        self._client = client

    async def on_start(self) -> None:
        """Open it; connections are made when they are needed."""
        await self._client.__aenter__()

    async def run(self) -> None:
        """Nothing more to do."""
        await run_forever()

    async def on_stop(self) -> None:
        """Close its connections."""
        await self._client.__aexit__(None, None, None)


def run(settings: GatewaySettings) -> int:
    """Run it until a signal."""
    made: list[GatewayApp] = []

    def make() -> Sequence[Part]:
        # Callers are told of an overload at once: requests that wait for it to end would only add to what waits.
        files = settings.scheduler_tls_ca, settings.scheduler_tls_cert, settings.scheduler_tls_key
        tls = Tls.of(client_tls(*files, prefix="--scheduler-tls"))
        client = Client([str(address) for address in settings.scheduler], tls=tls, waits_out_overload=False)
        made.append(GatewayApp(settings, client))
        return [ClientPart(client), *made]

    return run_parts(
        make,
        on_ready=lambda: say(f"foliot gateway is ready: HTTP on {made[0].http_address} and {made[0].chadburn_http_address}"),
        serves_calls=True,
    )
