"""`latentmd inspect` and `latentmd systems`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from latentmd.cli.main import main
from latentmd.replicas.choice import engine_in_use
from latentmd.replicas.library import library


def test_inspect_shows_what_a_model_is(ou_bundle: Path) -> None:
    result = CliRunner().invoke(main, ["inspect", str(ou_bundle)])
    assert result.exit_code == 0
    text = " ".join(result.output.split())
    for expected in ("torsion-ou", "ACE-ALA-NME", "350 K", "5 ps to 50 ps", "obc2.xml", "latentmd-torchscript-1"):
        assert expected in text


def test_inspect_times_plain_md_of_the_molecule(ou_bundle: Path) -> None:
    plain = CliRunner().invoke(main, ["inspect", str(ou_bundle)])
    assert engine_in_use().split(",")[0] in " ".join(plain.output.split()) and "times (" not in plain.output
    timed = CliRunner().invoke(main, ["inspect", str(ou_bundle), "--speed"])
    assert timed.exit_code == 0, timed.output
    text = " ".join(timed.output.replace("│", " ").split())
    assert "one core, 22 atoms" in text and "times (" in text if library() else "one replica at a time" in text


def test_inspect_as_json_and_topology(ou_bundle: Path) -> None:
    result = CliRunner().invoke(main, ["inspect", str(ou_bundle), "--json"])
    assert json.loads(result.output)["temperature"] == 350.0
    result = CliRunner().invoke(main, ["inspect", str(ou_bundle), "--topology"])
    assert sum(line.startswith(("ATOM", "HETATM")) for line in result.output.splitlines()) == 22


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a model"])
def test_inspect_refuses_other_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    result = CliRunner().invoke(main, ["inspect", str(path)])
    assert result.exit_code == 1 and "not a latentmd bundle" in result.output
