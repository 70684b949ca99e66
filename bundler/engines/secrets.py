"""Reading the secrets a recipe points to, when a server asks for them and not before."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.errors import SecretMissingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bundler.model.secret import Secret

_MOST_BYTES = 64 << 10
_UNFIT = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, repr=False)
class Secrets:
    """Where secrets are read: files by their path from `folder`, that of the recipe, and environment variables."""

    folder: Path
    environment: Mapping[str, str]

    def read(self, secret: Secret) -> str:
        """Give the secret; raises SecretMissingError, which names its place and never what is there."""
        place = (
            f"the environment variable {secret.env}" if secret.env else f"the file {self.folder / (secret.file or '')}"
        )
        text = (
            self.environment.get(secret.env, "") if secret.env else self._read_file(self.folder / (secret.file or ""))
        )
        if not text:
            raise SecretMissingError(
                f"{place} is empty or not there, and the recipe takes a secret from it",
                hint="set it before the build, or correct the recipe",
            )
        if _UNFIT.search(text):
            raise SecretMissingError(
                f"{place} has control characters, which no secret may have",
                hint="write the secret alone, on one line",
            )
        return text

    def _read_file(self, path: Path) -> str:
        try:
            with path.open("rb") as file:
                data = file.read(_MOST_BYTES)
            return data.decode().removesuffix("\n").removesuffix("\r")
        except FileNotFoundError:
            return ""
        except UnicodeDecodeError:
            raise SecretMissingError(
                f"the file {path} is not UTF-8 text, and the recipe takes a secret from it",
                hint="write the secret alone, on one line",
            ) from None
        except OSError as error:
            raise SecretMissingError(
                f"the file {path}, from which the recipe takes a secret, cannot be read: {error.strerror}",
                hint="check its owner and mode",
            ) from None
