"""Trust in single servers, and who we are to them, beside what holds for all."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from urllib3.util.ssl_ import create_urllib3_context

from bundler.errors import CertificateFileError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Certificates:
    """Files in PEM for TLS with one server: its authority's certificate, and a client certificate with its key."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Read the files; raises CertificateFileError.

        What a session trusts anyway is added when it connects: mirrors may have certificates of either kind.
        """
        context = create_urllib3_context()
        try:
            if self.ca_file:
                context.load_verify_locations(self.ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise _unfit(self.ca_file, error, "a PEM file with the certificate of an authority") from None
        try:
            if self.cert_file and self.key_file:
                # With an empty password, for without one OpenSSL asks on the terminal.
                context.load_cert_chain(self.cert_file, self.key_file, password="")
        except OSError as error:
            raise _unfit(
                self.cert_file, error, f"a PEM file that fits the key {self.key_file}, without password"
            ) from None
        return context


def _unfit(path: Path | None, error: OSError, wanted: str) -> CertificateFileError:
    why = f"is not {wanted}" if isinstance(error, ssl.SSLError) else f"cannot be read: {error.strerror}"
    return CertificateFileError(
        f"{path}, or the key beside it, {why}" if "key" in wanted else f"{path} {why}",
        hint="correct ca_file, cert_file and key_file under sources in the recipe; paths are from its folder",
    )
