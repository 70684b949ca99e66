"""What a recipe may tell k3s: flags that exist, for the role that reads them, with values it takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.errors import RecipeError
from bundler.model.flag_values import value_mistakes
from bundler.model.flags import FLAGS
from bundler.site.yaml_text import yaml_text
from bundler.stages.read import parse_recipe

SHORTEST = b"version: 1\nname: edge\nrelease: stable\narch: [arm64]\n"


def told(site: dict[str, Any]) -> list[str]:
    """The sentences about `site` in a recipe, none when it is right."""
    try:
        parse_recipe(SHORTEST + yaml_text({"site": site}, ()), "edge.yaml")
    except RecipeError as error:
        return [f"{mistake.path}: {mistake.what}" for mistake in error.mistakes]
    return []


def only(site: dict[str, Any]) -> str:
    (found,) = told(site)
    return found


@pytest.mark.parametrize(
    ("site", "what"),
    [
        ({"config": {"tls-sna": ["a"]}}, 'site.config.tls-sna: is not a flag of k3s; did you mean "tls-san"?'),
        ({"agent": {"node-lable": ["a=b"]}}, 'did you mean "node-label"?'),
        ({"config": {"frobnicate": 1}}, "site.unknown_flags: {frobnicate: [server]}"),
        ({"agent": {"tls-san": ["a"]}}, "is a flag that agents do not know: write it under site.server"),
        ({"server": {"disable-apiserver-lb": True}}, "is a flag that servers do not know: write it under site.agent"),
        ({"first_server": {"server": "https://a:6443"}}, "makes it a server that joins another"),
        (
            {"server": {"server": "https://a:6443"}, "first_server": {"cluster-init": True}},
            "is told to the server of site.first_server too",
        ),
        (
            {"config": {"server": "https://a:6443"}, "first_server": {"cluster-init": True}},
            "is told to the server of site.first_server too",
        ),
        ({"config": {"no-flannel": True}}, "write flannel-backend: none"),
        ({"config": {"cluster-reset": True}}, "is for one run by hand"),
        ({"config": {"d": "/srv/k3s"}}, "is short for data-dir"),
        ({"config": {"tls-san": ["a"], "tls-san+": ["b"]}}, "stands beside tls-san: write one list"),
        ({"unknown_flags": {"tls-san": ["server"]}}, "is a flag k3s-bundler knows"),
        ({"unknown_flags": {"new": []}}, "is an empty list"),
        ({"unknown_flags": {"new": ["master"]}}, '"master" is not one of server, agent'),
        ({"unknown_flags": {"token": ["server"]}}, "is a secret"),
        ({"config": {"token+": ("a",)}}, "is a secret"),
        ({"config": {"agent-token+": "a"}}, "is a secret"),
        ({"config": {"new": True}, "unknown_flags": {"new": "server"}}, "a list is expected"),
    ],
    ids=str,
)
def test_flags_that_would_be_ignored_or_keep_a_node_from_starting_are_mistakes(site: dict[str, Any], what: str) -> None:
    assert what in only(site)


@pytest.mark.parametrize(
    "endpoint",
    [
        "mysql://u:gehe/im@tcp(db:3306)/k",
        "postgres://u:gehe@im@db/k",
        "postgres://db/k?user=u&password=geheim",
        "nats://geheim@h:4222",
    ],
)
def test_an_account_of_a_datastore_is_refused_and_not_repeated(endpoint: str) -> None:
    said = only({"server": {"datastore-endpoint": endpoint}})
    assert said.startswith("site.server.datastore-endpoint: holds an account")
    assert "gehe" not in said


@pytest.mark.parametrize("url", ["https://me:gehe/im@a.example/x", "https://me:/geheim@a.example", "x=http://:gehe@a"])
def test_an_account_in_any_address_is_refused_and_not_repeated(url: str) -> None:
    said = only({"config": {"kube-apiserver-arg": [f"oidc-issuer-url={url}"]}})
    assert "holds an account in a URL" in said
    assert "gehe" not in said


@pytest.mark.parametrize(
    "url",
    ["https://a.example:8443/x@y", "https://[fd00::1]:6443/x@y", "https://a.example/x:y@z", "https://a:1,https://b:2"],
)
def test_an_address_with_a_port_holds_no_account(url: str) -> None:
    assert told({"config": {"kube-apiserver-arg": [f"oidc-issuer-url={url}"]}}) == []


@pytest.mark.parametrize(
    "endpoint", ["https://a:2379,https://b:2379", "postgres://u@db:5432/k?sslmode=verify-full", "nats://h:4222"]
)
def test_a_datastore_without_an_account_is_taken(endpoint: str) -> None:
    assert told({"server": {"datastore-endpoint": endpoint}}) == []


WRONG = [
    ({"debug": "true"}, "true or false without quotes is expected"),
    ({"pause-image": "Pause"}, "is not an image"),
    ({"debug": 1}, "true or false without quotes is expected"),
    ({"https-listen-port": "6443"}, "one whole number without quotes is expected"),
    ({"https-listen-port": 0}, "a port is 1 to 65535"),
    ({"https-listen-port": [1]}, "is a list, but k3s takes one whole number"),
    ({"data-dir": ["/a", "/b"]}, "is a list, but k3s takes one text"),
    ({"data-dir+": "/a"}, "has a + to add to a list"),
    ({"data-dir": "srv"}, "is not a path at the site"),
    ({"cluster-domain": True}, "is true, and one text is expected"),
    ({"flannel-backend": "vxlam"}, "is not one of vxlan, host-gw, wireguard-native, none"),
    ({"flannel-backend": "wireguard"}, "write wireguard-native"),
    ({"egress-selector-mode": "on"}, "is not one of agent, cluster, pod, disabled"),
    ({"secrets-encryption-provider": "aes"}, "is not one of aescbc, secretbox"),
    ({"write-kubeconfig-mode": "rw-r--r--"}, "three octal digits"),
    ({"write-kubeconfig-mode": "0988"}, "three octal digits"),
    ({"cluster-cidr": "10.42.0.0"}, "is not a network"),
    ({"cluster-cidr": "10.42.0.0/16,fd00::/5x"}, '"fd00::/5x" is not a network'),
    ({"cluster-dns": ["10.43.0.300"]}, "is not an IP address"),
    ({"service-node-port-range": "30000:32767"}, "is not a range of ports"),
    ({"service-node-port-range": "32767-30000"}, "is not a range of ports"),
    ({"tls-san": ["https://k3s.example"]}, "is neither a host name nor an IP address"),
    ({"node-name": "edge_1"}, "is not a host name"),
    ({"server": "10.0.0.1:6443"}, "is not the URL of a server"),
    ({"system-default-registry": "https://registry.example"}, "without its scheme"),
    ({"etcd-s3-timeout": "5 minutes"}, "is not a duration"),
    ({"node-label": ["edge"]}, '"edge" is not name=value'),
    ({"node-label": ["a b=c"]}, "is not a name for it"),
    ({"node-label": ["a=b c"]}, "is not a value of a label"),
    ({"node-label": ["node-role.kubernetes.io/worker=true"]}, "no kubelet may set itself"),
    ({"node-taint": ["a=b"]}, "effects are NoSchedule, PreferNoSchedule, NoExecute"),
    ({"node-taint": ["a=b:NoRun"]}, "effects are"),
    ({"kubelet-arg": ["max pods=5"]}, "is not name=value"),
    ({"kubelet-arg": "-v=5"}, "is not name=value"),
]


@pytest.mark.parametrize(("config", "what"), WRONG, ids=str)
def test_values_k3s_does_not_take_are_mistakes(config: dict[str, Any], what: str) -> None:
    assert what in only({"config": config})


@pytest.mark.parametrize(
    "config",
    [
        {"flannel-backend": "wireguard-native", "disable-network-policy": True},
        {"write-kubeconfig-mode": "0640"},
        {"write-kubeconfig-mode": "644"},
        {"write-kubeconfig-mode": 600},
        {"cluster-cidr": "10.42.0.0/16,fd42::/56", "service-cidr": ["10.43.0.0/16", "fd43::/112"]},
        {"cluster-dns": "10.43.0.10", "bind-address": "::1", "node-ip": ["10.0.0.1", "fd00::1"]},
        {"tls-san": ["k3s.example", "*.edge.example", "10.0.0.1", "fd00::1"], "node-name": "Edge-1"},
        {"node-label": ["a=b", "example.com/a=", "kubernetes.io/os=linux", "node.kubernetes.io/pool=a"]},
        {"node-taint": ["CriticalAddonsOnly=true:NoExecute", "gpu:PreferNoSchedule"]},
        {"kubelet-arg": ["max-pods=50", "--eviction-hard=memory.available<100Mi,nodefs.available<5%", "v"]},
        {"kube-apiserver-arg": "feature-gates+=A=true,B=false", "etcd-s3-timeout": "1h30m", "v": 4},
        {"server": "https://10.0.0.1:6443", "token-file": "/etc/token", "system-default-registry": "r.example:5000/x"},
        {"disable": ["ccm"], "docker": False, "https-listen-port": 443, "service-node-port-range": "80-32767"},
    ],
    ids=str,
)
def test_values_k3s_takes_are_taken(config: dict[str, Any]) -> None:
    assert told({"config": config}) == []


def test_mistakes_of_every_section_are_told_at_once_and_none_hides_another() -> None:
    site = {
        "config": {"tls-sna": ["a"], "debug": "yes", "token": "secret", "node_name": "a"},
        "server": {"cluster-cidr": "x", "disable-apiserver-lb": True},
        "first_server": {"server": "https://a:6443", "flannel-backend": "y"},
        "agent": {"cluster-init": True, "node-label": ["a=b", "c"]},
        "registries": {"auths": {}},
    }
    assert sorted(sentence.partition(": ")[0] for sentence in told(site)) == [
        "site.agent.cluster-init",
        "site.agent.node-label[1]",
        "site.config.debug",
        "site.config.node_name",
        "site.config.tls-sna",
        "site.config.token",
        "site.first_server.flannel-backend",
        "site.first_server.server",
        "site.registries.auths",
        "site.server.cluster-cidr",
        "site.server.disable-apiserver-lb",
    ]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(FLAGS)) | st.text(max_size=8), anything, max_size=6))
def test_no_value_whatever_makes_the_checks_fail_themselves(config: dict[str, Any]) -> None:
    for path, what in value_mistakes(config):
        assert path[0] in config
        assert what
