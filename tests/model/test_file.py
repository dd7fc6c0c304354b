"""Bundles: round trips, and one clear refusal for each kind of bad file."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentmd.model import file as bundle
from latentmd.model.file import BundleError


def test_round_trip_keeps_the_functions_and_the_manifest(ou_bundle: Path, ou_surrogate: Any, alanine: Any) -> None:
    loaded = bundle.load(ou_bundle)
    x = torch.tensor(np.asarray(alanine.positions._value), dtype=torch.float32).unsqueeze(0)
    for ours, original in zip(loaded.module.encode(x), ou_surrogate.encode(x), strict=True):
        torch.testing.assert_close(ours, original)
    torch.testing.assert_close(loaded.module.energy(x * 1.01), ou_surrogate.energy(x * 1.01))
    assert loaded.manifest.temperature == 350.0
    assert loaded.manifest.versions["torch"] == torch.__version__
    assert loaded.manifest == bundle.read_manifest(ou_bundle)
    assert loaded.sha256 == bundle.read_sha256(ou_bundle)
    assert not loaded.module.training


def test_saving_twice_gives_the_same_file(ou_surrogate: Any, ou_manifest: dict[str, Any], tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        bundle.save(tmp_path / name, ou_surrogate, {**ou_manifest, "created": "2026-01-01"})
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_no_source_path_is_stored(ou_bundle: Path) -> None:
    with zipfile.ZipFile(ou_bundle) as archive:
        assert not any(str(Path(bundle.__file__).parent).encode() in archive.read(name) for name in archive.namelist())


def test_every_flipped_bit_is_found(ou_bundle: Path, tmp_path: Path) -> None:
    data = ou_bundle.read_bytes()
    path = tmp_path / "flipped.pt"
    rng = np.random.default_rng(0)
    for position in [0, 2, len(data) - 1, len(data) - 70, *rng.integers(len(data), size=60)]:
        flipped = bytearray(data)
        flipped[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        with pytest.raises(BundleError, match=r"flipped\.pt"):
            bundle.load(path)


def test_every_truncation_is_found(ou_bundle: Path, tmp_path: Path) -> None:
    data = ou_bundle.read_bytes()
    path = tmp_path / "short.pt"
    for size in [0, 1, 100, len(data) // 2, len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(BundleError, match="not a latentmd bundle"):
            bundle.load(path)


def test_foreign_files_are_refused_and_not_unpickled(tmp_path: Path) -> None:
    marker = tmp_path / "executed"

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (marker,)

    torch.save(Evil(), tmp_path / "pickle.pt")
    with pytest.raises(BundleError, match="not a latentmd bundle"):
        bundle.load(tmp_path / "pickle.pt")
    assert not marker.exists()
    (tmp_path / "text.pt").write_text("hello " * 100)
    with pytest.raises(BundleError, match="is not a latentmd bundle"):
        bundle.load(tmp_path / "text.pt")


def _resealed(path: Path, change: Any) -> None:
    """Rewrite a bundle with its manifest text changed and a right closing hash, as a careful forger would."""
    manifest = bundle.read_manifest(path)
    source = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(source, "w") as new:
        for name in old.namelist():
            if "/extra/" not in name:
                new.writestr(name, old.read(name))
    bundle.write_sealed(path, source, change(manifest))


def test_weights_that_differ_from_the_manifest_are_refused(ou_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    path.write_bytes(ou_bundle.read_bytes())
    _resealed(path, lambda manifest: manifest.model_copy(update={"weights_sha256": "0" * 64}))
    with pytest.raises(BundleError, match="the weights have SHA-256"):
        bundle.load(path)


def test_another_format_version_is_named(ou_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "future.pt"
    path.write_bytes(ou_bundle.read_bytes())
    _resealed(path, lambda manifest: manifest.model_copy(update={"format": "latentmd-torchscript-9"}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(BundleError, match="format 'latentmd-torchscript-9'"):
            bundle.load(path)


def test_missing_and_unknown_fields_are_refused(ou_surrogate: Any, ou_manifest: dict[str, Any], tmp_path: Path) -> None:
    without = {key: value for key, value in ou_manifest.items() if key != "temperature"}
    with pytest.raises(BundleError, match="temperature: field required"):
        bundle.save(tmp_path / "x.pt", ou_surrogate, without)
    with pytest.raises(BundleError, match="temprature"):
        bundle.save(tmp_path / "x.pt", ou_surrogate, {**ou_manifest, "temprature": 300})
    with pytest.raises(BundleError, match="lag range"):
        bundle.save(tmp_path / "x.pt", ou_surrogate, {**ou_manifest, "lag": (50.0, 5.0)})
    with pytest.raises(BundleError, match="lacks encode"):
        bundle.save(tmp_path / "x.pt", torch.nn.Linear(1, 1), ou_manifest)
    with pytest.raises(BundleError, match="22 atoms"):
        bundle.save(tmp_path / "x.pt", ou_surrogate, {**ou_manifest, "tokens": [0, 1]})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_earlier_file(
    ou_surrogate: Any, ou_manifest: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"earlier")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        bundle.save(path, ou_surrogate, ou_manifest)
    assert path.read_bytes() == b"earlier"
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]


def test_an_unknown_name_lists_the_bundled_models() -> None:
    with pytest.raises(BundleError, match="no such model file or bundled model"):
        bundle.load("no-such-model")


def test_reading_a_manifest_does_not_import_torch(ou_bundle: Path) -> None:
    code = (
        "import sys; from latentmd.model.file import read_manifest;"
        f"read_manifest({str(ou_bundle)!r}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0


def test_the_version_of_a_package_that_is_not_there() -> None:
    assert bundle.package_version("no-such-package") == "unknown"
