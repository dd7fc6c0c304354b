"""The file of a path model: what goes in comes out, and what does not belong is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from latentmd.core.paths.masked import MaskedTrajectory
from latentmd.model.file import bundled_models, find, read_manifest
from latentmd.model.paths import PathModelError, PathRecord, beside, load_path_model, save_path_model

RECORD = PathRecord("abc", (1.0, 20.0), 1.0, frames=1000, seed=3, steps=10)


def _saved(folder: Path) -> Path:
    torch.manual_seed(0)
    model = MaskedTrajectory(2, (1.0, 20.0), width=16, depth=1, window=8)
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
    with pytest.raises(PathModelError, match=r"has no path model.*--paths MODEL"):
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
