"""The file of a path model: what goes in comes out, and what does not belong is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from openmm.app import PDBFile

from latentmd.core.paths.masked import MaskedTrajectory, TrajectorySettings
from latentmd.model.binding import bind
from latentmd.model.file import bundled_models, find, read_manifest
from latentmd.model.paths import PathModelError, PathRecord, beside, load_path_model, save_path_model
from latentmd.model.propagator import Propagator

RECORD = PathRecord("abc", (1.0, 20.0), 1.0, frames=1000, seed=3, steps=10)


def _saved(folder: Path) -> Path:
    torch.manual_seed(0)
    model = MaskedTrajectory(TrajectorySettings(2, (1.0, 20.0), width=16, depth=1, window=8))
    torch.nn.init.normal_(model.write.weight)
    save_path_model(folder / "my.paths.pt", model, RECORD)
    return folder / "my.paths.pt"


def test_a_model_comes_back_as_it_was(tmp_path: Path) -> None:
    path = _saved(tmp_path)
    first, record = load_path_model(path, "abc")
    again, _ = load_path_model(path, "abc")
    assert record == RECORD and first.window == 8
    mask = torch.zeros(1, 5, 1, dtype=torch.bool)
    mask[:, 0] = True
    times, noise = torch.arange(5.0)[None], torch.randn(1, 5, 1, 2, generator=torch.Generator().manual_seed(1))
    drawn = first.sample(torch.zeros(1, 5, 1, 2), mask, times, noise)
    assert torch.equal(drawn, again.sample(torch.zeros(1, 5, 1, 2), mask, times, noise))
    assert float(drawn[:, 1:].abs().max()) > 0


def test_what_does_not_belong_is_refused(tmp_path: Path) -> None:
    path = _saved(tmp_path)
    with pytest.raises(PathModelError, match="latents of another model"):
        load_path_model(path, "def")
    with pytest.raises(PathModelError, match=r"has no path model.*latentmd train paths"):
        load_path_model(tmp_path / "none.pt", "abc")
    (tmp_path / "text.pt").write_text("text")
    with pytest.raises(PathModelError, match="is not a path model"):
        load_path_model(tmp_path / "text.pt", "abc")
    torch.save({"format": "latentmd-paths-0"}, tmp_path / "old.pt")
    with pytest.raises(PathModelError, match="reads 'latentmd-paths-1'"):
        load_path_model(tmp_path / "old.pt", "abc")


def test_the_bundled_path_model_lies_beside_its_bundle_and_is_no_model_of_its_own() -> None:
    names = bundled_models()
    assert "alanine-dipeptide" in names and not any(name.endswith(".paths") for name in names)
    model, record = load_path_model(
        beside(find("alanine-dipeptide")), read_manifest("alanine-dipeptide").weights_sha256
    )
    assert record.lag == (1.0, 20.0) and model.dim == read_manifest("alanine-dipeptide").slow_axes


MOLECULES = Path(__file__).parents[2] / "systems" / "molecules"


def _bound(name: str, folder: Path) -> tuple[Propagator, Any]:
    pdb = PDBFile(str(MOLECULES / f"{name}.pdb"))
    x = np.asarray(pdb.getPositions(asNumpy=True)._value)
    bind(pdb.topology, x, folder / f"{name}.pt")
    return Propagator(folder / f"{name}.pt", "cpu", threads=1), x


def test_frames_between_two_are_drawn_and_the_known_ones_stay(tmp_path: Path) -> None:
    model, x = _bound("trialanine", tmp_path)
    generator = torch.Generator().manual_seed(0)
    known = model.encode(x[None]).expand(2, 11, -1, -1).clone()
    mask = torch.zeros(known.shape[:3], dtype=torch.bool)
    mask[:, [0, -1]] = True
    times = torch.arange(11.0).expand(2, -1)
    drawn = model.trajectories.sample(known, mask, times, torch.randn(known.shape, generator=generator))
    assert torch.equal(drawn[mask], known[mask]) and bool(torch.isfinite(drawn).all())
    waves = drawn[..., model.module.n_slow :].flatten(0, 1)
    assert torch.allclose(model.module.from_waves(waves), drawn.flatten(0, 1), atol=1e-4)
    angles, start = (model.module.torsions(z.flatten(0, 1)).reshape(2, -1, 24) for z in (drawn, known[:, :1]))
    near = torch.remainder(angles - start + np.pi, 2 * np.pi) - np.pi
    assert float(near[:, [1, -2]].abs().mean()) < 0.6  # a frame 1 ps from a known one is like it


def test_residues_that_it_was_not_trained_on_are_named(tmp_path: Path) -> None:
    model, _ = _bound("alanine_dipeptide", tmp_path)
    with pytest.raises(PathModelError, match=r"was not trained on ACE, NME; .*latentmd train paths TRAJECTORIES"):
        _ = model.trajectories
