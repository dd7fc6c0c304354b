"""The file of a model of many peptides: what is written is read, damage is noticed, foreign files are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from latentmd.model.file import BundleError
from latentmd.model.peptide_file import (
    NAME,
    find_peptides,
    is_peptides,
    load_peptides,
    peptides_sha256,
    read_peptide_manifest,
    save_peptides,
)
from latentmd.model.peptides import PeptideConfig, PeptideModel


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PeptideModel]:
    torch.manual_seed(0)
    model = PeptideModel(PeptideConfig(8, 8, 16, 1, width=24, depth=1, causal_depth=1, heads=2)).eval()
    model.table = {"ALA only: N": {"centre": torch.rand(3), "kinds": torch.tensor([0, 1, 2])}}
    path = tmp_path_factory.mktemp("file") / "small.pt"
    manifest = read_peptide_manifest().model_copy(update={"name": "small", "created": "", "weights_sha256": ""})
    save_peptides(path, model, manifest, {"kinds": torch.arange(3)})
    return path, model


def test_the_bundled_model_is_found_by_name_and_is_small() -> None:
    path = find_peptides(NAME)
    assert path.name == "peptides.pt" and path.stat().st_size <= 15e6
    assert is_peptides(NAME) and not is_peptides("alanine-dipeptide")
    manifest = read_peptide_manifest()
    assert not set(manifest.sequences) & set(manifest.held_out) and len(manifest.held_out) == 36


def test_what_is_written_is_read_in_half_precision(written: tuple[Path, PeptideModel]) -> None:
    path, model = written
    file = load_peptides(path)
    assert file.manifest.name == "small" and file.sha256 == peptides_sha256(path) and file.path == path.resolve()
    for name, value in model.state_dict().items():
        stored = file.model.state_dict()[name]
        exact = torch.equal(stored, value)
        assert exact or torch.equal(stored, value.half().float()), name
    row = file.model.table["ALA only: N"]
    assert row["centre"].dtype == torch.float32 and row["kinds"].tolist() == [0, 1, 2]
    assert file.statistics["kinds"].tolist() == [0, 1, 2]


def test_damage_is_noticed(written: tuple[Path, PeptideModel], tmp_path: Path) -> None:
    data = bytearray(written[0].read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "damaged.pt").write_bytes(bytes(data))
    with pytest.raises(BundleError, match=r"damaged\.pt"):
        load_peptides(tmp_path / "damaged.pt")


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        read_peptide_manifest(tmp_path / "missing.pt")
    (tmp_path / "text.pt").write_text("no model")
    assert not is_peptides(tmp_path / "text.pt")
    with pytest.raises(BundleError):
        load_peptides(tmp_path / "text.pt")
