"""Every example runs as a user would run it, in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path: Path, tmp_path: Path) -> None:
    text = path.read_text()
    if "openmmml" in text and find_spec("openmmml") is None:
        pytest.skip("needs pip install 'latentmd[openmmml]'")
    assert len(text.splitlines()) <= 60
    # One thread: networks this small gain nothing from more, and on a busy machine threads wait for each other.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(path)]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.strip(), "an example says what it did"


def test_before_and_after_differ_by_two_lines() -> None:
    before, after = (
        EXAMPLES[0].with_name(f"01_alanine_dipeptide_{word}.py").read_text() for word in ("before", "after")
    )
    added = [line for line in after.splitlines()[1:] if line.strip() and line not in before.splitlines()]
    changed = [line for line in before.splitlines()[1:] if line.strip() and line not in after.splitlines()]
    assert (len(added), len(changed)) == (2, 1), f"changed: {changed}; added: {added}"
