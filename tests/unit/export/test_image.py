import pytest

from depotlab import export
from depotlab.errors import UsageError


def test_names_and_push_become_attributes():
    out = export.image("h/a:1", "h/a:2", push=True)
    assert dict(out.attrs) == {"name": "h/a:1,h/a:2", "push": "true"}
    assert out.names == ("h/a:1", "h/a:2")


def test_without_arguments_it_is_an_unnamed_image():
    assert dict(export.image().attrs) == {}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: export.image(push=True), "needs a name"),
        (lambda: export.image("a,b"), "comma"),
        (lambda: export.image(""), "as strings"),
        (lambda: export.image("a", compression="zip"), "not known"),
    ],
)
def test_mistakes_are_raised_in_the_call(call, words):
    with pytest.raises(UsageError, match=words):
        call()


def test_options_and_annotations():
    out = export.image("a", insecure=True, compression="zstd", annotations={"k": "v"})
    assert dict(out.attrs) == {
        "name": "a",
        "registry.insecure": "true",
        "compression": "zstd",
        "annotation.k": "v",
    }
