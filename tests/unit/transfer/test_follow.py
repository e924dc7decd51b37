from __future__ import annotations

import pytest

from depotlab._transfer import resolve


class Links(dict[str, str]):
    """A tree of symbolic links, by path; every name in it exists."""

    def names(self, path: str) -> list[str]:
        prefix = "" if path == "." else path + "/"
        return [
            n.removeprefix(prefix)
            for n in self
            if n.startswith(prefix) and n.count("/") == prefix.count("/")
        ]

    def target(self, path: str) -> str | None:
        return self.get(path) or None


@pytest.mark.parametrize(
    ("links", "follow", "expected"),
    [
        pytest.param({}, ["app/main.py"], ["app/main.py"], id="without links the path itself"),
        pytest.param({}, ["/app/../etc/./x"], ["etc/x"], id="paths are made relative and clean"),
        pytest.param({"app": "src"}, ["app/a"], ["app", "src/a"], id="the link and what it leads to"),
        pytest.param({"d/l": "../e"}, ["d/l"], ["d/l", "e"], id="relative to the link's directory"),
        pytest.param({"d/l": "/e"}, ["d/l"], ["d/l", "e"], id="absolute is from the root of the tree"),
        pytest.param({"l": "../../etc/passwd"}, ["l"], ["etc/passwd", "l"], id="never out of the tree"),
        pytest.param({"a": "b", "b": "c"}, ["a"], ["a", "b", "c"], id="links to links"),
        pytest.param({"a": "b", "b": "a"}, ["a/x"], ["a", "b"], id="a circle ends"),
        pytest.param({"a": "a/a"}, ["a"], ["a"], id="a link into itself ends"),
        pytest.param({"l1": "x", "l2": "y", "f": ""}, ["l*"], ["l*", "x", "y"], id="wildcards meet links"),
        pytest.param({"d": "e", "d/l1": "x"}, ["d/l*"], ["d", "e/l*"], id="wildcards below a link"),
        pytest.param({"f": ""}, ["[", "f"], ["[", "f"], id="a malformed wildcard matches nothing"),
        pytest.param({}, ["../up/x"], ["../up/x"], id="above the tree nothing is looked up"),
        pytest.param({"l": "/"}, ["l"], None, id="a link to the root wants everything"),
        pytest.param({}, ["."], None, id="the root wants everything"),
        pytest.param({"app": "src"}, ["app/a", "app/b"], ["app", "src/a", "src/b"],
                     id="two paths through one link are both followed, other than in Go"),
    ],
)  # fmt: skip
def test_follow_paths(links: dict[str, str], follow: list[str], expected: list[str] | None) -> None:
    assert resolve(Links(links), follow) == expected


def test_a_link_that_leads_deeper_into_itself_ends() -> None:
    found = resolve(Links({"a": "a/b"}), ["a/x"])
    assert found is not None
    assert found[0] == "a"
