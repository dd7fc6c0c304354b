"""Two molecules on a spring: the System reads as two molecules, and what is wrong is said."""

from __future__ import annotations

from pathlib import Path

import pair
import pytest

from latentmd.systems.builder import build
from latentmd.systems.bundled import bundled
from latentmd.systems.protocol import InputOptions, Protocol


def _make(monkeypatch: pytest.MonkeyPatch, folder: Path, second: str) -> None:
    one = str(bundled("alanine_dipeptide"))
    monkeypatch.setattr(
        "sys.argv", ["pair.py", one, one, "--between", "ALA2 CA", second, "--out", str(folder / "pair")]
    )
    pair.main()


def test_the_pair_is_read_as_two_molecules_without_the_spring(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _make(monkeypatch, tmp_path, "ALA2 CA")
    built = build(tmp_path / "pair.pdb", Protocol(inputs=InputOptions(system=str(tmp_path / "pair.xml"))))
    assert built.system.getNumParticles() == 44 and built.topology.getNumBonds() == 42


def test_an_atom_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no atom 'GLY9 CA'"):
        _make(monkeypatch, tmp_path, "GLY9 CA")
