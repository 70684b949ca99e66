"""etc/registries.yaml of the bundle: where nodes look for images beyond those they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bundler.model.registries import certificate_target
from bundler.model.secret import SiteSecret
from bundler.site.yaml_text import yaml_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundler.model.registries import EndpointAuth, Registries, RegistryConfig
    from bundler.model.secret import SiteSecrets


def registries_yaml(registries: Registries, secrets: SiteSecrets) -> bytes:
    """Write k3s's registries.yaml; without mirrors and configs it is an empty mapping, which k3s accepts.

    Secrets are written in clear, for k3s reads them so; those that are asked for at the site are empty texts.
    """
    mirrors = {
        name: mirror.model_dump(mode="json", exclude_defaults=True) if mirror else {}
        for name, mirror in registries.all_mirrors().items()
    }
    configs = {name: _config(name, config, secrets) for name, config in registries.configs.items()}
    header = [
        "Written by k3s-bundler from site.registries of the recipe.",
        "k3s reads it as /etc/rancher/k3s/registries.yaml on every node, once, when it starts.",
    ]
    header += [f"Fill in {key} of {name}, which is empty here, and restart k3s." for name, key in asked(registries)]
    return yaml_text(
        {name: part for name, part in {"mirrors": mirrors, "configs": configs}.items() if part}, tuple(header)
    )


def asked(registries: Registries) -> tuple[tuple[str, str], ...]:
    """Give registry and key of everything the operator has to fill in, sorted."""
    return tuple(sorted((name, key) for name, key, secret in registries.secrets() if secret.ask))


def _config(name: str, config: RegistryConfig, secrets: SiteSecrets) -> Mapping[str, Any]:
    tls = config.tls.model_dump(mode="json", exclude_defaults=True) if config.tls else {}
    tls = {
        key: certificate_target(name, key) if isinstance(value, str) and not value.startswith("/") else value
        for key, value in tls.items()
    }
    auth = _auth(config.auth, secrets) if config.auth else {}
    return {key: part for key, part in {"auth": auth, "tls": tls}.items() if part}


def _auth(auth: EndpointAuth, secrets: SiteSecrets) -> Mapping[str, str]:
    parts: dict[str, str | SiteSecret | None] = {
        "username": auth.username,
        "password": auth.password,
        "auth": auth.auth,
        "identity_token": auth.identity_token,
    }
    return {
        key: secrets.of(value) if isinstance(value, SiteSecret) else value
        for key, value in parts.items()
        if value is not None
    }
