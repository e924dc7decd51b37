"""The public surface infers what we say: a type checker reads `surface.py` in strict mode."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_the_examples_check_in_strict_mode():
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(HERE / "surface.py")],
        capture_output=True,
        text=True,
        timeout=500,
        cwd=HERE.parents[1],
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wrong_call_is_found(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import depotlab as dl\n"
        "def build(bk: dl.Client) -> int:\n"
        "    return bk.build(dl.dockerfile('.'), tgas='x')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(wrong)],
        capture_output=True,
        text=True,
        timeout=500,
        cwd=HERE.parents[1],
    )
    assert done.returncode == 1
    assert "tgas" in done.stdout
    assert "BuildResult" in done.stdout
