"""How every frame was made, read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentmd.io.atomic import OutputError
from latentmd.io.provenance import Provenance, read_provenance, write_provenance


def test_columns_of_other_ways_of_sampling(tmp_path: Path) -> None:
    path = tmp_path / "provenance.csv"
    write_provenance(path, ("walker", "kind", "weight"), [(0, "latent", 0.25), (1, "given", 0.75)])
    read = read_provenance(path)
    assert list(read) == ["walker", "kind", "weight"]
    assert read["walker"].tolist() == [0, 1] and read["weight"].sum() == 1.0
    with pytest.raises(ValueError, match="no column mood"):
        write_provenance(path, ("mood",), [])
    path.write_text("mood\n1\n")
    with pytest.raises(OutputError, match="unknown columns mood"):
        read_provenance(path)


def test_provenance_comes_back_in_order(tmp_path: Path) -> None:
    provenance = Provenance(tmp_path / "provenance.csv")
    provenance.add(1, [(100.0, "latent", -50.5, ""), (200.0, "relaxed", -70.0, "")])
    provenance.add(0, [(100.0, "md", -60.0, "bonds clashes")])
    provenance.add(1, [(300.0, "md", -71.0, "")])
    provenance.close()
    read = read_provenance(tmp_path / "provenance.csv")
    assert read["walker"].tolist() == [0, 1, 1, 1]
    assert read["time_ps"].tolist() == [100, 100, 200, 300]
    assert read["kind"].tolist() == ["md", "latent", "relaxed", "md"]
    assert read["checks_failed"].tolist() == ["bonds clashes", "", "", ""]


def test_provenance_on_a_full_disk(tmp_path: Path, file_size_limit: None) -> None:
    provenance = Provenance(tmp_path / "provenance.csv")
    provenance.add(0, [(1.0, "md", -1.0, "")])
    with pytest.raises(OutputError, match="is the disk full"):
        provenance.add(0, [(float(i), "md", -1.0, "") for i in range(5000)])
    provenance.close()
    assert len(read_provenance(tmp_path / "provenance.csv")["walker"]) == 1
