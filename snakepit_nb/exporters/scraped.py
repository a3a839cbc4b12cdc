"""The address at which a Prometheus server finds a registry: HTTP, on loopback unless told otherwise.

*Rule:* on loopback it answers only who asks for loopback by name: a web page in the browser that has its own
name lead here (DNS rebinding) is told nothing.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
import threading
import weakref
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from prometheus_client import CollectorRegistry

_PATH: Final = "/metrics"
_MOST: Final = 65535
_alive: Final[weakref.WeakSet[Endpoint]] = weakref.WeakSet()


class Endpoint:
    """Serves a registry from a thread of its own, until it is closed.

    Args:
        registry: A registry of prometheus_client.
        port: The port; 0 takes one that is free.
        addr: The address to listen on.

    Raises:
        ValueError: the port is none.
        OSError: it is taken, or the address is none of this machine.

    Attributes:
        port: The port that it listens on.
        url: Where the metrics are.
        closed: Whether it serves no more.
    """

    def __init__(self, registry: CollectorRegistry, port: int, addr: str) -> None:
        if type(port) is not int or not 0 <= port <= _MOST:
            message = f"port: expected a number from 0 to {_MOST}, got {port!r}"
            raise ValueError(message)
        from prometheus_client import make_wsgi_app  # noqa: PLC0415 - whoever has a registry has it

        self.closed = False
        self._lock = threading.Lock()
        self._server = _listening(port, addr)
        self._server.set_app(_guarded(make_wsgi_app(registry), local=_is_local(addr)))
        self.port: int = self._server.server_port
        host = self._server.server_name
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}{_PATH}"
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.1},
            name=f"snakepit_nb metrics {self.port}",
            daemon=True,
        )
        self._thread.start()
        _alive.add(self)

    def close(self) -> None:
        """Serve no more, and let go of the port. Idempotent."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def after_fork(self) -> None:
        """This is another process now: the port is the parent's."""
        self.closed = True
        self._server.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Endpoint {self.url}{', closed' if self.closed else ''}>"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False

    def server_bind(self) -> None:
        # HTTPServer's own would ask the network for this machine's name.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's own types
        """Who asked is gone: nobody else is concerned."""


class _SixServer(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = 10

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's own name
        """A scrape every few seconds is nothing to print."""


def _listening(port: int, addr: str) -> WSGIServer:
    try:
        found = socket.getaddrinfo(addr, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        server = _SixServer if found[0] == socket.AF_INET6 else _Server
        return server((str(found[4][0]), port), _Handler)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"port {port} of {addr} is taken; choose another one, or port=0 for one that is free"
        elif error.errno == errno.EACCES:
            message = f"port {port} is not for ordinary users; choose one from 1024 on, or port=0"
        else:
            message = f"cannot listen on {addr!r}: {error.strerror or error}; 127.0.0.1 is always there"
        raise OSError(error.errno, message) from error


def _is_local(addr: str) -> bool:
    if addr == "localhost":
        return True
    try:
        return ipaddress.ip_address(addr).is_loopback
    except ValueError:
        return False


def _guarded(app: Callable[..., Iterable[bytes]], *, local: bool) -> Callable[..., Iterable[bytes]]:
    """The application, for the one path that there is, and where it is `local` for who asks so."""

    def guarded(environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
        host = re.sub(r":\d*$", "", environ.get("HTTP_HOST", "")).strip("[]")
        status, text = "", ""
        if local and host and not _is_local(host):
            status, text = "403 Forbidden", "ask for 127.0.0.1 or localhost\n"
        elif environ["PATH_INFO"] != _PATH:
            status, text = "404 Not Found", f"the metrics are at {_PATH}\n"
        if status:
            start(status, [("Content-Type", "text/plain; charset=utf-8")])
            return [text.encode()]
        return app(environ, start)

    return guarded


def _after_fork() -> None:
    for each in list(_alive):
        each.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
