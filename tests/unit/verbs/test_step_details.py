"""What is known of a step beyond its progress: its op, the line that asked for it, its files."""

from __future__ import annotations

import pytest

import depotlab as dl
from depotlab import llb
from depotlab._verbs import prepare
from depotlab._verbs.details import StepDetails, instruction_place
from depotlab.errors import UsageError
from depotlab.progress import Step, VertexUpdated, fold

TEXT = """\
# syntax=docker/dockerfile:1
FROM node:22-alpine AS web
run npm ci \\
    # of the lock file only
    --ignore-scripts
COPY . .
RUN npm run build

FROM python:3.12-slim
RUN <<EOF
set -e
RUN npm run build
EOF
COPY . .
COPY --from=web /dist ./static
"""


def step(name: str, digest: str = "sha256:1", *, ended: bool = True) -> Step:
    end_ns = 9 if ended else None
    (only,) = fold([VertexUpdated(digest, name, (), 1, end_ns)], at_ns=9).steps
    return only


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("[web 1/4] FROM docker.io/library/node:22-alpine@sha256:1f2e", (2, 2)),
        ("[web 2/4] RUN npm ci --ignore-scripts", (3, 5)),
        ("[linux/arm64 web 4/4] RUN npm run build", (7, 7)),
        ("[stage-1 4/4] COPY --from=web /dist ./static", (15, 15)),
    ],
)
def test_a_step_is_found_by_the_words_of_its_instruction(name: str, lines: tuple[int, int]) -> None:
    place = instruction_place(TEXT, name, filename="Dockerfile")
    assert place is not None
    assert (place.filename, place.line, place.end_line) == ("Dockerfile", *lines)
    assert place.text == TEXT


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("[stage-1 3/4] COPY . .", id="two instructions say the same"),
        pytest.param("[web 2/4] RUN echo", id="none says so"),
        pytest.param("exporting to image", id="it is no instruction"),
    ],
)
def test_where_the_words_do_not_tell_no_line_is_named(name: str) -> None:
    assert instruction_place(TEXT, name, filename="Dockerfile") is None


def test_of_a_graph_the_op_and_the_line_of_the_call_are_known() -> None:
    state = llb.scratch().mkfile("/a", "x")
    request = prepare(state)
    details = StepDetails(request)
    definition = state.marshal()
    made = step("mkfile /a", definition.digests[0])
    assert details.node(made) is None, "nothing was sent yet"
    request.sent.append({llb.Platform("linux", "amd64"): definition})
    node = details.node(made)
    assert node is not None
    assert node.kind == "file"
    assert "mkfile /a" in node.title
    place = details.place(made)
    assert place is not None
    assert place.filename.endswith("test_step_details.py")
    assert details.node(step("exporting to image", "sha256:2")) is None
    assert details.place(step("exporting to image", "sha256:2")) is None


def test_of_a_dockerfile_the_line_is_known_and_what_the_frontend_does_has_none() -> None:
    details = StepDetails(prepare(dl.dockerfile(text=TEXT)))
    found = details.place(step("[web 2/4] RUN npm ci --ignore-scripts"))
    assert found is not None
    assert found.line == 3
    assert details.place(step("[internal] load build definition from Dockerfile")) is None
    assert details.node(step("[web 2/4] RUN npm ci --ignore-scripts")) is None


def test_a_dockerfile_that_is_gone_names_no_line(tmp_path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text("FROM scratch\nCOPY a b\n")
    details = StepDetails(prepare(dl.dockerfile(tmp_path)))
    path.unlink()
    assert details.place(step("[stage-0 1/1] COPY a b")) is None


def test_without_a_builder_there_are_no_files_to_list() -> None:
    details = StepDetails(prepare(dl.dockerfile(text=TEXT)))
    made = step("[web 2/4] RUN npm ci --ignore-scripts")
    assert not details.has_files(made)
    assert details.code(made) == "bk.browse(result.at('[web 2/4] RUN npm ci --ignore-scripts'))"
    assert details.code(step("[internal] load build context")) == ""
    with pytest.raises(UsageError, match="cannot be listed"):
        details.list_files(made)
