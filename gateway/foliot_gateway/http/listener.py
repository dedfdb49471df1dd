"""One listening address: its socket, and the HTTP server on it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator

import uvicorn

from foliot.kit.settings import HostPort, SettingsError
from foliot_gateway.http.edge import AsgiApp
from foliot_gateway.http.protocol import LimitedProtocol

BACKLOG = 2048
"""Connections that may wait to be accepted: uvicorn's default, twice what a burst of load tests opens at once."""
KEEP_ALIVE_S = 75
"""How long an idle connection is kept: longer than the 60 s of common load balancers, lest they use one that just closed."""
DRAIN_S = 15
"""How long open requests may take to end once the listener stops: the longest ones wait for a scheduler, 10 s by default."""


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process has one owner of signals, the supervisor."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def bind(option: str, address: HostPort) -> socket.socket:
    """Return a socket bound to an address; raises SettingsError naming the option it came from."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise SettingsError(option, f"{address}: the host cannot be found: {error.strerror}") from error
    family, kind, protocol, _, target = found[0]
    bound = socket.socket(family, kind, protocol)
    try:
        # A restart must not wait for the connections of the last process to be forgotten.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(target)
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise SettingsError(option, f"{address}: {_why(error)}") from error
    return bound


def bound_address(bound: socket.socket) -> HostPort:
    """Return where a socket listens, the port that the system chose included."""
    host, port = bound.getsockname()[:2]
    return HostPort(host, port)


def make_server(app: AsgiApp) -> Server:
    """Return a server for an application; its sockets are given to `serve`."""
    config = uvicorn.Config(
        app,
        http=LimitedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,  # the kit configures logging
        access_log=False,  # the edge writes it
        server_header=False,
        proxy_headers=False,  # the gate reads them, from proxies that it was told to trust
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
    )
    return Server(config)


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use"
    if error.errno == errno.EACCES:
        return "this user may not listen on the port"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have the address"
    return os.strerror(error.errno) if error.errno else str(error)
