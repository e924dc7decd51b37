import subprocess
import sys

import depotlab


def run(code):
    return subprocess.run(
        [sys.executable, "-bb", "-c", code], check=True, capture_output=True, text=True
    ).stdout


def test_import_loads_nothing_heavy():
    heavy = run(
        "import sys, depotlab\n"
        "from depotlab import llb, mount, export, errors, frontend\n"
        "depotlab.dockerfile(text='FROM x'); llb.image('x').run('y').marshal('linux/amd64')\n"
        "heavy = ('grpc', 'google.protobuf', 'h2', 'ipywidgets', 'IPython', 'rich', 'asyncio')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    assert heavy.strip() == "[]"


def test_every_public_name_is_there_and_listed():
    for name in depotlab.__all__:
        assert getattr(depotlab, name) is not None
    assert dir(depotlab) == sorted(depotlab.__all__)


def test_completion_shows_only_what_is_promised():
    shown = run("import depotlab.client, depotlab.aio, depotlab as dl; print(dir(dl))")
    assert "_verbs" not in shown
    assert "'local'" in shown


def test_the_verb_local_stays_a_function_after_everything_is_imported():
    out = run("import depotlab as dl, depotlab.client, depotlab._local; print(callable(dl.local))")
    assert out == "True\n"


def test_an_unknown_name_is_an_attribute_error():
    out = run(
        "import depotlab as dl\ntry:\n    dl.nonesuch\nexcept AttributeError as error:\n    print(error)"
    )
    assert "nonesuch" in out
