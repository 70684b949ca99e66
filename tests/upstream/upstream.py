"""The double of everything k3s-bundler downloads from: release server, channel server and registry in one."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote

from tests.upstream.access import OpenAccess
from tests.upstream.answers import OCTETS, Answer, Document, document, error, negotiated
from tests.upstream.content import Content, standard_content
from tests.upstream.faults import Delivery, Fault
from tests.upstream.log import Request, RequestLog
from tests.upstream.routes import CHANNELS, DASHED_RELEASES, RELEASES, documents, not_found
from tests.upstream.server import Server

if TYPE_CHECKING:
    from types import TracebackType


@dataclass
class _Rule:
    pattern: str
    fault: Fault
    remaining: int | None


class Upstream:
    """A server on 127.0.0.1, running between `with Upstream() as upstream:` and the end of the block.

    Serves `content` (the standard content when None is given) on a free port, or on `port`; `access` guards the
    registry. Leaving the block raises ExceptionGroup if the double itself failed in one of its threads.
    """

    def __init__(self, content: Content | None = None, *, access: OpenAccess | None = None, port: int = 0) -> None:
        self.content = content or standard_content()
        self._access = access or OpenAccess()
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []
        self._log = RequestLog()
        self._server = Server(port, self._respond, self._log)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._documents = documents(self.content, self.url)
        # A short poll: closing waits for it.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name=f"upstream {self.url}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._server.close()
        self._thread.join()
        if self._server.crashes:
            raise ExceptionGroup("the upstream double failed", self._server.crashes)

    @property
    def releases_url(self) -> str:
        """The base of `<tag, + as %2B>/<asset>`; a literal + is understood too."""
        return self.url + RELEASES

    @property
    def dashed_releases_url(self) -> str:
        """The base of `<tag, + as ->/<asset>`, as on the mirror for China."""
        return self.url + DASHED_RELEASES

    @property
    def channels_url(self) -> str:
        """The collection of channels, JSON."""
        return self.url + CHANNELS

    @property
    def host(self) -> str:
        """Host and port, as in an image reference: `127.0.0.1:5000`."""
        return self.url.removeprefix("http://")

    @property
    def requests(self) -> tuple[Request, ...]:
        """All requests since the start or the last `forget_requests`, in order of arrival."""
        return self._log.snapshot()

    def requests_to(self, pattern: str, method: str = "*") -> tuple[Request, ...]:
        """Give the requests whose decoded path without its query matches the shell pattern (`*` matches `/` too)."""
        return tuple(
            request
            for request in self.requests
            if fnmatchcase(unquote(request.path.partition("?")[0]), pattern) and fnmatchcase(request.method, method)
        )

    def bytes_sent(self, pattern: str = "*") -> int:
        """Count the body bytes sent for a pattern, all requests together."""
        return sum(request.body_bytes for request in self.requests_to(pattern))

    def forget_requests(self) -> None:
        """Empty the request log."""
        self._log.clear()

    def fail(self, pattern: str, fault: Fault, times: int | None = 1) -> None:
        """Let the next `times` answers (None: all) for paths that match `pattern` go wrong.

        One fault meets one answer, the oldest first. A fault is used up only by an answer that it can show on: a cut
        waits for a GET that would succeed, so a 401 or a HEAD before it does not spend it.
        """
        with self._lock:
            self._rules.append(_Rule(pattern, fault, times))

    def heal(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._rules.clear()

    def put(self, path: str, body: bytes, content_type: str = OCTETS) -> None:
        """Serve `body` under the decoded path from now on, with an ETag of its own."""
        self.put_document(path, document(body, content_type))

    def put_document(self, path: str, new: Document) -> None:
        """Serve a document under the decoded path from now on."""
        with self._lock:
            self._documents[path] = new

    def document(self, path: str) -> Document:
        """Give what lies under the decoded path; raises KeyError."""
        with self._lock:
            return self._documents[path]

    def remove(self, path: str) -> None:
        """Answer 404 under the decoded path from now on; raises KeyError when nothing lies there."""
        with self._lock:
            del self._documents[path]

    def _respond(self, method: str, target: str, headers: dict[str, str]) -> tuple[Answer, Delivery]:
        encoded, _, query = target.partition("?")
        path = unquote(encoded)
        answer = self._right_answer(method, path, query, headers)
        fault = self._take_fault(path, method, answer)
        return fault.alter(answer, target), fault.delivery

    def _right_answer(self, method: str, path: str, query: str, headers: dict[str, str]) -> Answer:
        if method not in {"GET", "HEAD"}:
            return error(405, "UNSUPPORTED", f"{method} is not supported: everything here is read-only")
        if path == "/token":
            return self._access.token(query, headers)
        if path.startswith("/v2/") and (refusal := self._access.refusal(path, headers, self.url)):
            return refusal
        with self._lock:
            found = self._documents.get(path)
        if found is None:
            return not_found(path)
        return negotiated(found, method, headers)

    def _take_fault(self, path: str, method: str, answer: Answer) -> Fault:
        with self._lock:
            for rule in self._rules:
                if rule.remaining == 0 or not fnmatchcase(path, rule.pattern) or not rule.fault.meets(method, answer):
                    continue
                if rule.remaining is not None:
                    rule.remaining -= 1
                return rule.fault
        return Fault()
