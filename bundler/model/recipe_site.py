"""The part of a recipe that says what nodes are told."""

from __future__ import annotations

from pydantic import Field

from bundler.model.config import Config
from bundler.model.registries import Registries
from bundler.model.strict import Strict, nothing


class Site(Strict):
    """What nodes are told."""

    registries: Registries = Field(
        default_factory=Registries, description="goes to /etc/rancher/k3s/registries.yaml on every node"
    )
    config: Config = Field(
        default_factory=nothing,
        examples=[{"write-kubeconfig-mode": "0644", "tls-san": ["k3s.example"]}],
        description="goes to /etc/rancher/k3s/config.yaml: flags of k3s without their dashes",
    )
