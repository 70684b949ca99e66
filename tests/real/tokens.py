"""A token server for a real registry, which verifies what it signs (distribution, docs/spec/auth)."""

from __future__ import annotations

import base64
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from tests.engines.recorder import Asked, Reply, challenge

if TYPE_CHECKING:
    from tests.real.authority import Authority
    from tests.real.registry import Login

ISSUER, SERVICE = "tests", "registry of the tests"

LEEWAY = 60
"""Seconds after its end for which a registry takes a token still (distribution registry/auth/token)."""


@dataclass
class TokenServer:
    """Answers as a realm for `tests.engines.recorder.Recorder(server.answer)`.

    Tokens last `lifetime` seconds, though it says that they last `promised`. `given` are the scopes, in order.
    """

    authority: Authority
    login: Login
    lifetime: float
    promised: int = 300
    given: list[str] = field(default_factory=list)

    def answer(self, asked: Asked) -> Reply:
        """Give the holder of the login a token for what is asked, and everybody else none."""
        if asked.login != f"{self.login.username}:{self.login.password}":
            return challenge('Basic realm="tests"')
        scope = asked.query["scope"][0]
        self.given.append(scope)
        body = {"token": self._token(scope), "expires_in": self.promised}
        return Reply(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _token(self, scope: str) -> str:
        kind, name, actions = scope.split(":")
        now = time.time()
        end = int(now + self.lifetime - LEEWAY)
        claims = {
            "iss": ISSUER, "aud": SERVICE, "sub": self.login.username, "jti": str(uuid.uuid4()),
            "iat": end - 600, "nbf": end - 600, "exp": end,
            "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
        }  # fmt: skip
        certificate = x509.load_pem_x509_certificate(self.authority.certificate.read_bytes())
        der = certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{_encoded(self._signature(signed.encode()))}"

    def _signature(self, data: bytes) -> bytes:
        key = serialization.load_pem_private_key(self.authority.key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        numbers = utils.decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
        return b"".join(number.to_bytes(32, "big") for number in numbers)


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
