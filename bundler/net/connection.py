"""Reaching a host within a bounded time.

`socket.create_connection` gives every address of a host the whole timeout, and `getaddrinfo` has none: a machine
without internet can wait minutes for one connection. Here resolving the name and trying every address share one
budget, the connect timeout of the request. The head of an answer has one of its own, the read timeout.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from contextlib import suppress
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, ClassVar

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.poolmanager import PoolManager, ProxyManager

if TYPE_CHECKING:
    import ssl

    from urllib3.response import HTTPResponse

Address = tuple[Any, ...]
"""What getaddrinfo gives: family, kind, protocol, canonical name, socket address."""

PAUSES = (0.5, 1.0)
"""Seconds before the second and third try of what fails at once: a restarting server, a shaky resolver."""

LEAST_SHARE = 1.0
"""Seconds an address gets at least before the next one is tried, as long as the budget lasts."""


class _BudgetedConnection(HTTPConnection):
    """A connection whose `timeout` covers name resolution, every address and every repeat together."""

    def _new_conn(self) -> socket.socket:
        budget = float(self.timeout or 0)
        deadline = time.monotonic() + budget
        for pause in (*PAUSES, None):
            try:
                addresses = _resolve(self._dns_host, self.port, deadline - time.monotonic())
                return _connect_any(addresses, deadline, self.socket_options)
            except TimeoutError as error:
                raise ConnectTimeoutError(self, f"no answer within {budget:g} s") from error
            except socket.gaierror as error:
                if pause is None or error.errno != socket.EAI_AGAIN or time.monotonic() + pause >= deadline:
                    raise NameResolutionError(self.host, self, error) from error
            except OSError as error:
                if pause is None or time.monotonic() + pause >= deadline:
                    raise NewConnectionError(self, error.strerror or str(error)) from error
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3 declares it
        """Read the head of the answer within the read timeout; the socket's own timeout starts anew with every byte."""
        late = threading.Event()
        guard = threading.Timer(float(self.timeout or 0), _cut, (self.sock, late))
        guard.daemon = True
        guard.start()
        try:
            answer = super().getresponse()
        except (OSError, HTTPException) as error:
            if late.is_set():
                raise TimeoutError("the head of the answer did not end in time") from error
            raise
        finally:
            guard.cancel()
        if late.is_set():  # http.client takes the end of the connection for the end of the head
            answer.close()
            raise TimeoutError("the head of the answer did not end in time")
        return answer


def _cut(connection: socket.socket, late: threading.Event) -> None:
    late.set()
    with suppress(OSError):  # closed already
        connection.shutdown(socket.SHUT_RDWR)


class _BudgetedTlsConnection(_BudgetedConnection, HTTPSConnection):
    """The same below TLS."""


class _BudgetedPool(HTTPConnectionPool):
    ConnectionCls = _BudgetedConnection


class _BudgetedTlsPool(HTTPSConnectionPool):
    ConnectionCls = _BudgetedTlsConnection


class BudgetedAdapter(HTTPAdapter):
    """An adapter of requests whose connections, to hosts and to proxies, keep to one budget.

    `context` is what TLS with the servers behind it begins with; requests adds what it trusts anyway.
    """

    def __init__(self, context: ssl.SSLContext | None = None, **options: Any) -> None:
        self._context = {} if context is None else {"ssl_context": context}
        super().__init__(**options)

    pools: ClassVar[dict[str, type[HTTPConnectionPool]]] = {"http": _BudgetedPool, "https": _BudgetedTlsPool}

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any) -> None:  # noqa: FBT001, FBT002 - requests calls it so
        """Make the pools of direct connections."""
        super().init_poolmanager(connections, maxsize, block, **pool_kwargs, **self._context)
        self.poolmanager.pool_classes_by_scheme = self.pools

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> PoolManager:
        """Make the pools of connections through `proxy`; SOCKS brings pools of its own."""
        manager: PoolManager = super().proxy_manager_for(proxy, **proxy_kwargs, **self._context)
        if type(manager) is ProxyManager:
            manager.pool_classes_by_scheme = self.pools
        return manager


def _resolve(host: str, port: int, seconds: float) -> list[Address]:
    """Ask the resolver, which knows no timeout, from a thread that may be left behind.

    Raises TimeoutError and socket.gaierror.
    """
    answers: queue.SimpleQueue[list[Address] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put([*socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)])
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, name=f"resolve {host}", daemon=True).start()
    try:
        answer = answers.get(timeout=max(seconds, 0.01))
    except queue.Empty:
        raise TimeoutError(f"the name {host} was not resolved in time") from None
    if isinstance(answer, UnicodeError):
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from answer
    if isinstance(answer, Exception):
        raise answer
    return answer


def _connect_any(addresses: list[Address], deadline: float, options: Any) -> socket.socket:
    """Connect to the first address that accepts; raises the last OSError (TimeoutError is one)."""
    failure: OSError = OSError("the host name has no address")
    for tried, address in enumerate(addresses):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no time is left for more addresses")
        share = max(left / (len(addresses) - tried), min(LEAST_SHARE, left))
        try:
            return _connect(address, share, options)
        except OSError as error:
            failure = error
    raise failure


def _connect(address: Address, seconds: float, options: Any) -> socket.socket:
    family, kind, protocol, where = address[0], address[1], address[2], address[-1]
    connection = socket.socket(family, kind, protocol)
    try:
        for option in options or ():
            connection.setsockopt(*option)
        connection.settimeout(seconds)
        connection.connect(where)
    except BaseException:
        connection.close()
        raise
    return connection
