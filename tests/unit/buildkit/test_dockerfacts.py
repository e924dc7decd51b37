"""What the Dockerfile frontend says of a Dockerfile, and how its lines could be."""

import base64
import json

import pytest

from depotlab.buildkit.dockerfacts import Argument, Need, lint_of, outline_of, stages_of
from depotlab.buildkit.lintfixes import fix_for
from depotlab.errors import ProtocolError


def at(line):
    return {"ranges": [{"start": {"line": line}, "end": {"line": line}}]}


@pytest.mark.parametrize(
    ("rule", "text", "fixed"),
    [
        ("FromAsCasing", "FROM busybox as base", "FROM busybox AS base"),
        ("FromAsCasing", "from busybox AS base", "from busybox as base"),
        ("StageNameCasing", "FROM busybox AS Base", "FROM busybox AS base"),
        ("MaintainerDeprecated", "MAINTAINER me", 'LABEL org.opencontainers.image.authors="me"'),
        ("JSONArgsRecommended", "CMD echo hi", 'CMD ["echo", "hi"]'),
        ("JSONArgsRecommended", "CMD echo $HOME | cat", ""),
        ("LegacyKeyValueFormat", "ENV A b c", 'ENV A="b c"'),
        ("LegacyKeyValueFormat", "ENV A b", "ENV A=b"),
        ("NoEmptyContinuation", "RUN a && \\\n\n  b", "RUN a && \\\n  b"),
        ("ExposeProtoCasing", "EXPOSE 80/TCP", "EXPOSE 80/tcp"),
        ("UndefinedVar", "RUN echo $X", ""),
        ("NewRule", "RUN x", ""),
    ],
)
def test_a_line_that_can_be_better_is_shown_so(rule, text, fixed):
    assert fix_for(rule, "", text) == fixed


def test_the_casing_follows_the_rest_of_the_file():
    to_upper = "Command 'run' should match the case of the command majority (uppercase)"
    assert fix_for("ConsistentInstructionCasing", to_upper, "run make") == "RUN make"
    to_lower = "Command 'RUN' should match the case of the command majority (lowercase)"
    assert fix_for("ConsistentInstructionCasing", to_lower, "RUN make") == "run make"


def test_an_outline_covers_what_may_be_a_secret():
    found = outline_of(
        json.dumps(
            {
                "name": "app",
                "args": [
                    {"name": "V", "value": "1", "description": "the version", "location": at(3)},
                    {"name": "NPM_TOKEN", "value": "s3cret", "location": at(4)},
                ],
                "secrets": [{"name": "key", "required": True, "location": at(5)}],
                "ssh": [{"name": "default"}],
            }
        ).encode()
    )
    assert found.arguments[0] == Argument("V", "1", "the version", 3)
    assert found.secrets == (Need("key", True, 5),)
    for shown in (repr(found), str(found), found._repr_html_()):
        assert "s3cret" not in shown
    assert repr(found) == "<Outline app: 2 arguments, 1 secret, 1 agent>"


def test_findings_come_in_the_order_of_lines_with_their_text():
    source = base64.b64encode(b"FROM busybox as b\nCMD echo hi").decode()
    found = lint_of(
        json.dumps(
            {
                "warnings": [
                    {"ruleName": "JSONArgsRecommended", "detail": "d", "location": at(2)},
                    {"ruleName": "FromAsCasing", "detail": "d", "location": at(1)},
                ],
                "sources": [{"filename": "Dockerfile", "data": source}],
            }
        ).encode()
    )
    assert [(one.line, one.text) for one in found] == [(1, "FROM busybox as b"), (2, "CMD echo hi")]
    assert not found.ok
    assert repr(found) == "<Lint 2 findings, 2 with a fix>"
    assert "CMD [&quot;echo&quot;" in found._repr_html_()


def test_stages_without_a_name_are_shown_by_what_they_start_from():
    found = stages_of(json.dumps({"targets": [{"base": "busybox", "default": True}]}).encode())
    assert found[0].is_default
    assert "busybox" in repr(found)


@pytest.mark.parametrize("read", [lint_of, outline_of, stages_of])
@pytest.mark.parametrize("data", [b"", b"[]", b"nothing"])
def test_an_answer_that_is_none_is_refused(read, data):
    with pytest.raises(ProtocolError, match="something else than a JSON object"):
        read(data)
