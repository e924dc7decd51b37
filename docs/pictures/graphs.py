"""The graphs whose pictures are in the docs; `docs/pictures/take.py` draws them. Nothing of them is built."""

from __future__ import annotations

from depotlab import llb, mount, recipes

__all__ = ["five", "forty"]


def five() -> llb.State:
    """An image and a local directory, a copy, a run, a copy."""
    src = llb.local("context", include=["app/**", "pyproject.toml"])
    return (
        llb.image("python:3.12-slim", platform="linux/amd64")
        .dir("/app")
        .copy(src, "pyproject.toml", ".")
        .run("pip install .", mounts=[mount.cache("/root/.cache/pip")], name="deps")
        .copy(src, "app", "app")
    )


def forty() -> llb.State:
    """Programs in Go, pages in JavaScript and a model in Python, merged onto a base."""
    src = llb.local("context")

    def image(name: str) -> llb.State:
        return llb.image(name, platform="linux/amd64")

    base = image("debian:12-slim").pipe(recipes.apt_install("ca-certificates"))
    base = base.pipe(recipes.user("app"))

    caches = [mount.cache("/go/pkg/mod"), mount.cache("/root/.cache/go-build")]
    go = image("golang:1.25").dir("/src").env(CGO_ENABLED="0").copy(src, "go.mod", "go.sum", ".")
    go = go.run("go mod download", mounts=caches).copy(src, "cmd", "cmd")
    go = go.copy(src, "internal", "internal").run("go generate ./...", mounts=caches)
    programs = llb.scratch()
    for name in ("server", "worker"):
        made = go.run(f"go build -trimpath -o /out/{name} ./cmd/{name}", mounts=caches, name=name)
        programs = programs.copy(made, f"/out/{name}", "/usr/bin/")
    tested = go.run("go test ./... > /tested", mounts=caches, network="none", name="unit tests")
    linter = mount.bind("/usr/bin/golangci-lint", image("golangci/golangci-lint:v2.1"))
    linted = go.run("golangci-lint run > /linted", mounts=[linter, *caches], name="lint")
    reports = (
        llb.scratch().copy(tested, "/tested", "/reports/").copy(linted, "/linted", "/reports/")
    )

    web = image("node:24-alpine").dir("/web").pipe(recipes.npm_ci(src))
    web = web.copy(src, "web", ".").run("npm run build", name="web bundle")
    pages = llb.scratch().copy(web, "dist", "/srv/www")

    python = image("python:3.12-slim").pipe(recipes.apt_install("libpq-dev")).dir("/ml")
    wheels = python.copy(src, "ml/requirements.txt", ".").run(
        "pip wheel -w /wheels -r requirements.txt",
        mounts=[mount.cache("/root/.cache/pip"), mount.secret("pypi_token")],
        name="wheels",
    )
    packages = base.run(
        "pip install --no-index --find-links /wheels /wheels/*.whl",
        mounts=[mount.bind("/wheels", wheels)],
        name="ml packages",
    )
    protos = llb.git("https://github.com/googleapis/googleapis", ref="master")
    stubs = python.run(
        "python -m grpc_tools.protoc --python_out=/stubs -I /protos /protos/google/rpc/*.proto",
        mounts=[mount.bind("/protos", protos)],
        name="stubs",
    )
    model = llb.http("https://example.com/models/small-7.onnx", filename="small.onnx")
    tini = llb.http("https://example.com/tini-amd64", filename="tini", mode=0o755)

    return llb.merge(
        base,
        programs,
        reports,
        pages,
        llb.diff(base, packages),
        llb.scratch().copy(stubs, "/stubs", "/opt/stubs"),
        llb.scratch().copy(model, "small.onnx", "/models/"),
        llb.scratch().copy(tini, "tini", "/sbin/tini").mkdir("/etc/app", parents=True),
    )
