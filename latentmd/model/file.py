"""The bundle: one file with a TorchScript module and its manifest. The only module that calls torch.jit.

A bundle is a TorchScript zip archive. The manifest is JSON in its extra files, and the file ends in a zip comment with
the SHA-256 of everything before it, so that truncation and every flipped bit are found before torch reads the file.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from latentmd.io.atomic import write_bytes
from latentmd.model.manifest import UNITS, Seal
from latentmd.model.manifest import Manifest as Manifest
from latentmd.units import first_line

if TYPE_CHECKING:
    import torch
    from torch import nn

METHODS = ("encode", "step", "mean_step", "decode", "reconstruct", "energy", "latent_energy")
SIZES = ("n_atoms", "step_noise", "decode_noise")

PEPTIDES = "latentmd-peptides"  # how the format of a model of many peptides begins
_MANIFEST = "manifest.json"
_COMMENT = b"latentmd sha256 "
_TAIL = len(_COMMENT) + 64


class BundleError(ValueError):
    """A file that is not a usable bundle, or a module that cannot become one."""


Sealed = TypeVar("Sealed", bound=Seal)


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle: TorchScript module in evaluation mode, manifest, hash of the file and where it was read from."""

    module: Any
    manifest: Manifest
    sha256: str
    path: Path


def models_folder() -> Path:
    """Folder of the bundled models."""
    return Path(str(files("latentmd.systems"))) / "molecules" / "models"


def bundled_models() -> list[str]:
    """Names of the bundled models, which `load` takes in place of a path."""
    return sorted(path.stem for path in models_folder().glob("*.pt") if not path.stem.endswith(".paths"))


def find(name_or_path: str | Path) -> Path:
    """Path of a bundle given by path, or by the name of a bundled model; BundleError where there is neither."""
    path = Path(name_or_path)
    if path.is_file():
        return path
    names = bundled_models()
    if str(name_or_path) in names:
        return models_folder() / f"{name_or_path}.pt"
    if str(name_or_path) == "torsions":
        raise BundleError("torsions draws first kernels of exact chains; add --mode chains")
    if str(name_or_path) == "peptides":
        raise BundleError(
            "peptides is a model of many peptides, which is bound to one: `latentmd bind MOLECULE.pdb --out bound.pt` "
            "makes a file, latentmd.load('peptides', topology=..., positions=...) a model in memory"
        )
    raise BundleError(
        f"{name_or_path}: no such model file or bundled model; expected the path of a bundle or one of: "
        f"{', '.join(names) or '(no model is bundled)'}"
    )


def save(path: str | Path, surrogate: nn.Module, manifest: Manifest | Mapping[str, object]) -> Manifest:
    """Script a surrogate and write it with its manifest, replacing `path` only when the whole file is written.

    The surrogate has the methods `METHODS` and the integer attributes `SIZES`; parts named in `half_precision` are
    rounded to float16 in place. Returns the manifest with `versions`, `created` and `weights_sha256` filled in.
    BundleError: a method or attribute of the surrogate or a field of the manifest is missing or wrong.
    """
    import torch

    if not isinstance(manifest, Manifest):
        manifest = _valid(Manifest, manifest, "the manifest to save")
    _check_consistent(manifest, surrogate, "the surrogate to save")
    surrogate = surrogate.eval().cpu()
    scripted = surrogate if isinstance(surrogate, torch.jit.ScriptModule) else script(surrogate)
    for part in manifest.half_precision:
        attrgetter(part)(scripted).half()
    try:
        return seal(path, scripted, manifest)
    finally:
        for part in manifest.half_precision:
            attrgetter(part)(scripted).float()


def seal(path: str | Path, scripted: nn.Module, manifest: Sealed) -> Sealed:
    """Write a TorchScript module and its manifest as one hashed file; returns the manifest as it was filled in."""
    import torch

    buffer = io.BytesIO()
    with quiet_torchscript():
        torch.jit.save(scripted, buffer)
    return write_sealed(Path(path), buffer, manifest.model_copy(update={"weights_sha256": weights_sha256(scripted)}))


def unseal(path: Path, schema: type[Sealed]) -> tuple[Any, Sealed, str]:
    """Module on the CPU, manifest and hash of a file written by `seal`; BundleError where damaged or another file."""
    import torch

    data, manifest, sha256 = read_sealed(path, schema)
    with quiet_torchscript():
        try:
            module = torch.jit.load(io.BytesIO(data), map_location="cpu")
        except Exception as error:
            raise BundleError(
                f"{path}: torch {torch.__version__} cannot load the module in it ({first_line(error)}); "
                f"it was written with torch {manifest.versions.get('torch', 'unknown')}"
            ) from error
    if (found := weights_sha256(module)) != manifest.weights_sha256:
        raise BundleError(
            f"{path}: the weights have SHA-256 {found[:12]}…, the manifest says {manifest.weights_sha256[:12]}…; "
            "get the file again from where it came"
        )
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module, manifest, sha256


def load(name_or_path: str | Path, device: str | torch.device = "cpu") -> Bundle:
    """Load a bundle by path or bundled name, its hashes checked and nothing unpickled; BundleError where it is none."""
    path = find(name_or_path)
    module, manifest, sha256 = unseal(path, Manifest)
    _check_consistent(manifest, module, str(path))
    for part in manifest.half_precision:
        attrgetter(part)(module).float()
    return Bundle(module.to(device), manifest, sha256, path.resolve())


def read_manifest(name_or_path: str | Path) -> Manifest:
    """The manifest of a bundle, after the file's hash is checked. Does not import torch."""
    return read_sealed(find(name_or_path), Manifest)[1]


def read_sha256(name_or_path: str | Path) -> str:
    """The hash of a bundle's file, as in `Bundle.sha256`, after it is checked. Does not import torch."""
    return read_sealed(find(name_or_path), Manifest)[2]


def script(module: nn.Module) -> Any:
    """`torch.jit.script` without its deprecation warning, for modules built around a bundle's."""
    import torch

    with quiet_torchscript():
        return torch.jit.script(module)


def weights_sha256(module: nn.Module) -> str:
    """Hash over name, dtype, shape and bytes of every parameter and buffer, sorted by name."""
    import torch

    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def package_version(package: str) -> str:
    """Version of an installed package, or "unknown"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


@contextmanager
def quiet_torchscript() -> Iterator[None]:
    """Keep the deprecation warnings of torch.jit, which works up to PyTorch 2.15, from the user."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=DeprecationWarning)
        yield


def write_sealed(path: Path, archive: io.BytesIO, manifest: Sealed) -> Sealed:
    """Write an archive with its manifest (versions and date filled in, returned) and hash, without debug records."""
    import torch

    versions = {"torch": torch.__version__, "latentmd": package_version("latentmd"), **manifest.versions}
    created = manifest.created or datetime.now(UTC).isoformat(timespec="seconds")
    manifest, sealed = manifest.model_copy(update={"versions": versions, "created": created}), io.BytesIO()
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(sealed, "w", zipfile.ZIP_DEFLATED) as target:
        root = source.namelist()[0].split("/")[0]
        for name in source.namelist():
            if not name.endswith(".debug_pkl"):
                target.writestr(zipfile.ZipInfo(name), source.read(name), zipfile.ZIP_DEFLATED)
        target.writestr(zipfile.ZipInfo(f"{root}/extra/{_MANIFEST}"), manifest.model_dump_json(), zipfile.ZIP_DEFLATED)
    content = sealed.getvalue()[:-2] + struct.pack("<H", _TAIL) + _COMMENT
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content + hashlib.sha256(content).hexdigest().encode())
    return manifest


def read_sealed(path: Path, schema: type[Sealed]) -> tuple[bytes, Sealed, str]:
    """Content of a sealed file, its manifest, and its hash, the last 64 bytes; BundleError as for `unseal`."""
    data = path.read_bytes()
    expected = "expected a model file, as `latentmd train` writes it"
    if len(data) <= _TAIL or data[-_TAIL:-64] != _COMMENT:
        kind = "is truncated or not a latentmd bundle" if data[:2] == b"PK" else "is not a latentmd bundle"
        raise BundleError(f"{path} {kind} ({len(data)} bytes); {expected}")
    if hashlib.sha256(data[:-64]).hexdigest().encode() != data[-64:]:
        raise BundleError(f"{path} is damaged: its content does not match its SHA-256; get it again from where it came")
    text = _manifest_text(io.BytesIO(data))
    if text is None:
        raise BundleError(f"{path} has no manifest; {expected}")
    found, wanted = _format(text), schema.model_fields["format"].default
    if found and found != wanted:
        advice = "install the matching latentmd"
        if found.startswith(PEPTIDES):
            advice = "it is of many peptides: `latentmd bind MOLECULE.pdb --out bound.pt` makes one of a molecule"
        raise BundleError(f"{path} has format {found!r}, expected {wanted!r}; {advice}")
    return data, _valid(schema, text, f"the manifest of {path}"), data[-64:].decode()


def sealed_format(path: Path) -> str:
    """Format that a file names in its manifest; empty for files of another kind."""
    try:
        return _format(_manifest_text(path) or "")
    except (zipfile.BadZipFile, OSError):
        return ""


def _manifest_text(file: Path | io.BytesIO) -> str | None:
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.endswith(f"/extra/{_MANIFEST}")]
        return archive.read(names[0]).decode() if len(names) == 1 else None


def _format(text: str) -> str:
    found = re.search(r'"format":\s*"([^"]*)"', text)
    return found[1] if found else ""


def _valid(schema: type[Sealed], fields: str | Mapping[str, object], source: str) -> Sealed:
    try:
        return schema.model_validate_json(fields) if isinstance(fields, str) else schema.model_validate(dict(fields))
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg'].lower()}" for e in error.errors()]
        raise BundleError(f"{source} is not valid: {'; '.join(problems)}") from error


def _check_consistent(manifest: Manifest, module: nn.Module, source: str) -> None:
    missing = [name for name in (*METHODS, *SIZES) if not hasattr(module, name)]
    if missing:
        raise BundleError(
            f"{source} lacks {', '.join(missing)}; expected the methods and sizes of latentmd.model.surrogate"
        )
    if manifest.lag[0] <= 0 or manifest.lag[0] > manifest.lag[1]:
        raise BundleError(f"{source}: lag range is {manifest.lag} ps; expected 0 < shortest <= longest")
    if manifest.units != UNITS:
        raise BundleError(f"{source}: units are {manifest.units}; expected {UNITS}")
    if len(manifest.tokens) != int(module.n_atoms):  # type: ignore[arg-type]
        raise BundleError(f"{source}: {len(manifest.tokens)} atoms have a token, the module has {module.n_atoms} atoms")
