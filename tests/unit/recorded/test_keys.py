"""What is the same question, and what is another one."""

from __future__ import annotations

import pytest

from depotlab import llb
from depotlab._proto import control_pb2, gateway_pb2, ops_pb2
from depotlab._recorded.canonical import Names, key_of, local_name, read_graph
from depotlab._recorded.learning import learn
from depotlab._recorded.tape import Call, Message

SOLVE = "/moby.buildkit.v1.frontend.LLBBridge/Solve"
READ = "/moby.buildkit.v1.frontend.LLBBridge/ReadFile"
CONTROL = "/moby.buildkit.v1.Control/Solve"
CONTAINER = "/moby.buildkit.v1.frontend.LLBBridge/NewContainer"
# Ids of BuildKit have 25 letters. Source: moby/buildkit `identity/randomid.go`.
ONE, ANOTHER, THIRD = (letter * 25 for letter in "abc")
EXEC = "/moby.buildkit.v1.frontend.LLBBridge/ExecProcess"


def definition(state, unique_id="u"):
    return ops_pb2.Definition.FromString(
        state.marshal(llb.Platform("linux", "amd64"), local_unique_id=unique_id).to_bytes()
    )


def solve_key(state, unique_id="u"):
    request = gateway_pb2.SolveRequest(Definition=definition(state, unique_id))
    return key_of(SOLVE, request.SerializeToString(), Names())


def app(folder, command="make", name="build it"):
    return llb.image("busybox").copy(llb.local(folder), "a", "/a").run(command, name=name)


@pytest.fixture
def folders(tmp_path):
    found = [tmp_path / "one" / "src", tmp_path / "two" / "src"]
    for folder in found:
        folder.mkdir(parents=True)
    return found


def test_a_graph_has_one_key_whatever_its_directories_are_called_today(folders):
    one, two = folders
    assert llb.local(one).marshal().digests != llb.local(two).marshal().digests
    assert solve_key(app(one), "u1") == solve_key(app(two), "u2")


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda f: app(f, "make all"), id="another command"),
        pytest.param(lambda f: app(f, name="another name"), id="another name of a step"),
        pytest.param(lambda f: app(f).run("true"), id="one step more"),
        pytest.param(
            lambda f: llb.image("busybox").copy(llb.local(f, include=["a"]), "a", "/a").run("make", name="build it"),
            id="other files of the directory",
        ),
    ],
)  # fmt: skip
def test_another_graph_has_another_key(other, folders):
    assert solve_key(other(folders[0])) != solve_key(app(folders[0]))


def test_ignoring_the_cache_is_another_question(folders):
    state = app(folders[0])
    fresh = gateway_pb2.SolveRequest()
    data = state.marshal(
        llb.Platform("linux", "amd64"), local_unique_id="u", ignore_cache=True
    ).to_bytes()
    fresh.Definition.ParseFromString(data)
    assert key_of(SOLVE, fresh.SerializeToString(), Names()) != solve_key(state)


def test_ops_are_told_with_their_digests_and_in_few_words(folders):
    graph = read_graph(definition(app(folders[0])))
    assert [op.label for op in graph.ops if "local" in op.label] == ["local src"]
    assert graph.ops[-1].label == "build it"
    sent = app(folders[0]).marshal(llb.Platform("linux", "amd64"), local_unique_id="u")
    assert {f"sha256:{op.digest}" for op in graph.ops} <= set(sent.digests)
    assert graph.locals["src"].startswith("src-")


def test_the_hash_of_a_path_is_no_part_of_a_name():
    assert local_name("app-0123abcd") == "app"
    assert local_name("context") == "context"
    assert local_name("my-app") == "my-app"


def control(**fields):
    return key_of(CONTROL, control_pb2.SolveRequest(**fields).SerializeToString(), Names())


def test_a_build_has_one_key_in_every_session():
    same = [
        control(Ref=ref, Session=session, Frontend="dockerfile.v0", FrontendAttrs={"target": "a"})
        for ref, session in (("r1", "s1"), ("r2", "s2"))
    ]
    assert same[0] == same[1]
    others = {
        control(Frontend="dockerfile.v0", FrontendAttrs={"target": "b"}),
        control(Frontend="dockerfile.v0", FrontendAttrs={"target": "a", "platform": "x"}),
        control(Frontend="dockerfile.v0", FrontendAttrs={"target": "a"}, Internal=True),
        control(
            Frontend="dockerfile.v0",
            FrontendAttrs={"target": "a"},
            Exporters=[control_pb2.Exporter(Type="tar")],
        ),
        control(FrontendAttrs={"target": "a"}),
    }
    assert len(others | {same[0]}) == 6


def test_a_cache_in_a_directory_is_the_same_wherever_that_is():
    def cached(place, kind="local"):
        entry = control_pb2.CacheOptionsEntry(Type=kind, Attrs={"dest": place})
        return control(Cache=control_pb2.CacheOptions(Exports=[entry]))

    assert cached("/a") == cached("/b")
    assert cached("/a") != cached("/a", "registry")


def solved(key, ref):
    answer = gateway_pb2.SolveResponse(result=gateway_pb2.Result(ref=gateway_pb2.Ref(id=ref)))
    return Call(0, SOLVE, key=key, messages=(Message(0, answer.SerializeToString()),))


def test_a_file_is_asked_for_in_what_was_solved_not_in_what_that_is_called():
    names = Names()
    learn(names, solved("graph", ONE))
    learn(names, solved("graph", ANOTHER))
    learn(names, solved("other graph", THIRD))

    def read(ref, path="/a"):
        request = gateway_pb2.ReadFileRequest(Ref=ref, FilePath=path)
        return key_of(READ, request.SerializeToString(), names)

    assert read(ONE) == read(ANOTHER)
    assert read(ONE) != read(THIRD)
    assert read(ANOTHER) != read(ANOTHER, "/b")


def test_a_process_is_that_of_its_container_and_its_command():
    def started(container, process, args):
        names = Names()
        made = gateway_pb2.NewContainerRequest(ContainerID=container, hostname="h")
        key = key_of(CONTAINER, made.SerializeToString(), names)
        learn(names, Call(0, CONTAINER, key=key), made.SerializeToString())
        init = gateway_pb2.InitMessage(ContainerID=container, Meta=ops_pb2.Meta(args=args))
        message = gateway_pb2.ExecMessage(ProcessID=process, Init=init)
        return key_of(EXEC, message.SerializeToString(), names)

    assert started("c1", "c1:p1", ["ls"]) == started("c2", "c2:p2", ["ls"])
    assert started("c1", "c1:p1", ["ls"]) != started("c1", "c1:p1", ["ls", "-l"])


def test_a_result_with_another_image_configuration_is_another_result():
    def returned(config, ref=ONE):
        names = Names({ONE: "result", ANOTHER: "result"})
        result = gateway_pb2.Result(
            ref=gateway_pb2.Ref(id=ref), metadata={"containerimage.config": config}
        )
        request = gateway_pb2.ReturnRequest(result=result)
        return key_of(SOLVE.replace("Solve", "Return"), request.SerializeToString(), names)

    assert returned(b"{}") == returned(b"{}", ANOTHER)
    assert returned(b"{}") != returned(b'{"a":1}')
