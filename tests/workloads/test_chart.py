"""Packed charts: read within limits, refused when they are not whole, written out as HelmChart objects."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.errors import ChartError
from bundler.model.recipe_charts import Chart
from bundler.workloads import chart as module
from bundler.workloads.chart import read_chart
from bundler.workloads.helm_chart import helm_chart
from tests.workloads.packed import PLAIN, TEMPLATE, VALUES, chart, packed

NEEDS_DB = (
    "apiVersion: v2\nname: app\nversion: 1.0.0\ndependencies: [{name: db, version: 1.x, repository: 'https://a'}]\n"
)
OLD_NEEDS = "dependencies: [{name: db, version: 1.x, repository: 'https://a'}]\n"
DB = "apiVersion: v2\nname: db\nversion: 1.2.0\n"
LOCK = "dependencies: [{name: db, version: 1.2.0}]\n"


def test_templates_and_crds_of_a_chart_and_its_dependencies_are_found() -> None:
    inner = chart({"templates/x.yaml": "{{ x }}", "crds/c.yaml": "a: 1"}, name="inner")
    files: dict[str, str | bytes] = {
        "Chart.yaml": NEEDS_DB,
        "Chart.lock": LOCK,
        "templates/a.yaml": PLAIN,
        "charts/db/Chart.yaml": DB,
        "charts/db/templates/b.yaml": PLAIN,
        "charts/inner-1.0.0.tgz": inner,
        "charts/_old/Chart.yaml": "nothing",
    }
    found = read_chart(chart(files), "app.tgz")
    paths = [file.path for file in (*found.templates, *found.crds)]
    assert (found.name, found.version) == ("app", "1.0.0")
    assert sorted(paths) == [
        "charts/db/templates/b.yaml",
        "charts/inner/crds/c.yaml",
        "charts/inner/templates/x.yaml",
        "templates/a.yaml",
    ]
    assert not found.is_plain


@pytest.mark.parametrize(
    ("files", "plain"),
    [
        ({"templates/a.yaml": PLAIN, "values.yaml": VALUES}, True),
        ({"templates/a.yaml": PLAIN, "templates/NOTES.txt": "{{ .Release.Name }}"}, True),
        ({"crds/a.yaml": "{{"}, True),
        ({"templates/a.yaml": TEMPLATE}, False),
        ({"templates/a.yaml": PLAIN, "templates/_helpers.tpl": "{{ define }}"}, False),
        ({}, True),
    ],
)
def test_a_chart_without_templates_is_told_from_one_with(files: dict[str, str], plain: bool) -> None:  # noqa: FBT001
    assert read_chart(chart(files), "app.tgz").is_plain is plain


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({"Chart.yaml": NEEDS_DB}, "its dependency db is not inside"),
        ({"requirements.yaml": OLD_NEEDS}, "its dependency db is not inside"),
        ({"Chart.yaml": NEEDS_DB, "charts/other/Chart.yaml": DB.replace("db", "other")}, "db is not inside"),
        (
            {"Chart.yaml": NEEDS_DB, "Chart.lock": LOCK.replace("1.2.0", "1.3.0"), "charts/db/Chart.yaml": DB},
            "db is 1.2.0 inside, and 1.3.0 in Chart.lock",
        ),
        ({"Chart.yaml": "apiVersion: v2\nversion: 1.0.0\n"}, "no Chart.yaml with a name and a version"),
        ({"Chart.yaml": "a: ["}, "Chart.yaml"),
        ({"Chart.yaml": "apiVersion: v2\nname: a\nversion: 1.0.0\ntype: library\n"}, "is a library"),
        ({"charts/db-1.tgz": b"no gzip"}, "charts/db-1.tgz is no packed chart"),
        ({"charts/db-1.tgz": chart({"requirements.yaml": OLD_NEEDS}, name="mid")}, "its dependency db is not inside"),
    ],
)
def test_what_is_not_whole_is_refused_by_name(files: dict[str, str | bytes], what: str) -> None:
    with pytest.raises(ChartError) as caught:
        read_chart(chart(files), "app.tgz")
    assert what in caught.value.what
    assert "app.tgz" in caught.value.what


def link(kind: bytes) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        member = tarfile.TarInfo("app/Chart.yaml")
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)
    return gzip.compress(raw.getvalue())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not gzip",
        gzip.compress(b"not tar" * 200),
        chart({})[:-20],
        packed({"../Chart.yaml": ""}),
        packed({"/app/Chart.yaml": ""}),
        packed({"app/../../Chart.yaml": ""}),
        packed({"Chart.yaml": ""}),
        link(tarfile.SYMTYPE),
        link(tarfile.LNKTYPE),
        link(tarfile.CHRTYPE),
    ],
    ids=range(11),
)
def test_what_is_no_chart_or_leaves_its_folder_is_refused(data: bytes) -> None:
    with pytest.raises(ChartError, match=r"app\.tgz"):
        read_chart(data, "app.tgz")


def test_bombs_are_refused_before_they_are_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_UNPACKED", 1 << 20)
    with pytest.raises(ChartError, match="unpacks to more"):
        read_chart(chart({"templates/a.yaml": b" " * (2 << 20)}), "app.tgz")
    nested = chart({})
    for _ in range(5):
        nested = chart({"charts/a.tgz": nested})
    with pytest.raises(ChartError, match="within more than 4"):
        read_chart(nested, "app.tgz")


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(codec="utf-8", exclude_categories=["C"])),
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple) | st.dictionaries(st.text("abc-.", min_size=1), inner, max_size=3)
    ),
    max_leaves=10,
)


def thawed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: thawed(inner) for key, inner in value.items()}
    return [thawed(inner) for inner in value] if isinstance(value, tuple) else value


@settings(deadline=None)
@given(st.dictionaries(st.text("abc-.", min_size=1), values, min_size=1, max_size=3))
def test_values_reach_the_chart_as_they_are(given_values: dict[str, Any]) -> None:
    one = Chart.model_validate({"name": "app", "chart": "./a.tgz", "namespace": "shop", "values": given_values})
    item = yaml.safe_load(helm_chart(one, "charts/app-0123456789ab.tgz"))
    assert yaml.safe_load(item["spec"].pop("valuesContent")) == thawed(given_values)
    assert item == {
        "apiVersion": "helm.cattle.io/v1",
        "kind": "HelmChart",
        "metadata": {"name": "app", "namespace": "kube-system"},
        "spec": {
            "chart": "https://%{KUBERNETES_API}%/static/charts/app-0123456789ab.tgz",
            "targetNamespace": "shop",
            "createNamespace": True,
        },
    }


@pytest.mark.parametrize(
    "text",
    ["1e3", "12E4", "0o17", "y", "N", "On", ".5", "-.5e1", ".inf", "1_0", "2001-01-01", "~", "null", "<<", "=", ""],
)
def test_text_that_go_takes_for_something_else_is_quoted_as_value_and_as_key(text: str) -> None:
    one = Chart.model_validate({"name": "app", "chart": "./a.tgz", "values": {"tag": text, text: 1}})
    content = yaml.safe_load(helm_chart(one, "charts/app-0123456789ab.tgz"))["spec"]["valuesContent"]
    node = yaml.compose(content)
    assert isinstance(node, yaml.MappingNode)
    (_, value), (key, _) = node.value
    assert value.style in {'"', "'"}
    assert key.style in {'"', "'"}
    assert yaml.safe_load(content) == {"tag": text, text: 1}


@pytest.mark.parametrize("name", ["y", "1e3", "null", "0"])
def test_a_chart_called_like_a_value_keeps_its_name(name: str) -> None:
    text = helm_chart(Chart.model_validate({"name": name, "chart": "./a.tgz"}), "charts/x.tgz").decode()
    assert f'name: "{name}"\n' in text


def test_every_template_of_a_plain_chart_is_deployed_whatever_it_is_called() -> None:
    """Helm leaves out partials and NOTES.txt alone; an image in a file that is called otherwise is needed as well."""
    files = {
        f"templates/{name}": PLAIN for name in ("a.yaml", "b.json", "c.tpl", "d", "sub/e.yml", "_f.yaml", "NOTES.txt")
    }
    found = read_chart(chart({**files, "crds/g.json": "{}", "crds/h.txt": ""}), "app.tgz")
    assert found.is_plain
    assert [file.path for file in found.manifests] == [
        "crds/g.json", "templates/a.yaml", "templates/b.json", "templates/c.tpl", "templates/d", "templates/sub/e.yml",
    ]  # fmt: skip
