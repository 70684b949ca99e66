"""A private certificate authority with one certificate for the loopback names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Authority:
    """Files in PEM: what clients must trust, and what a server presents."""

    ca: Path
    certificate: Path
    key: Path


def create_authority(directory: Path) -> Authority:
    """Make a new authority and a certificate for 127.0.0.1, ::1 and localhost in `directory`."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "::1", "localhost")
    made = Authority(directory / "ca.pem", directory / "server.pem", directory / "server.key")
    authority.cert_pem.write_to_path(str(made.ca))
    made.certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(made.key))
    return made
