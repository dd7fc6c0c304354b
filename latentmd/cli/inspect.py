"""`latentmd inspect`: the manifest of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click import argument, option

from latentmd.cli.common import print_table

if TYPE_CHECKING:
    from latentmd.model.file import Manifest
    from latentmd.model.peptide_file import PeptideManifest

_SECONDS = 0.3  # of each timing of --speed


@click.command(
    "inspect",
    epilog="""\b
Examples:
  latentmd inspect alanine-dipeptide
  latentmd inspect my.pt --speed
  latentmd inspect my.pt --json""",
)
@argument("model")
@option("--json", "as_json", is_flag=True, help="The whole manifest as JSON.")
@option("--topology", is_flag=True, help="The covered molecule as PDB text.")
@option("--speed", is_flag=True, help="Time plain MD of the molecule here: replica engine and OpenMM.")
def inspect_command(model: str, as_json: bool, topology: bool, speed: bool) -> None:
    """Show what MODEL, a bundle's path or a bundled model's name, is and where it holds.

    The file's hash is checked first; nothing in it is run. The last table says what plain MD runs with here.
    """
    from latentmd.model.file import find
    from latentmd.sampling.models import ManyMolecules, given_model

    try:
        found = given_model(model)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(found.manifest.model_dump_json(indent=2))
    elif isinstance(found, ManyMolecules):
        print_table(f"{found.manifest.name}: a model of many peptides", _peptides(found.manifest))
    elif topology:
        click.echo(found.manifest.topology.rstrip())
    else:
        sections = _sections(found.manifest, str(find(model)), found.sha256)
        for title, rows in [*sections, ("plain MD here", _engines(model, speed))]:
            if rows:
                print_table(title, rows)


def _engines(model: str, speed: bool) -> list[tuple[str, str]]:
    """The engine of plain MD on this machine and, if wanted, its speed beside OpenMM's."""
    from latentmd.replicas.choice import engine_in_use

    rows = [("engine", engine_in_use())]
    if not speed:
        return rows
    from latentmd.evaluation.speed import per_core, replica_row
    from latentmd.sampling.paths.request import subject_of
    from latentmd.systems.protocol import DEFAULT_INPUTS

    try:
        molecule = subject_of((), model, DEFAULT_INPUTS).molecule
        found = per_core(molecule, _SECONDS, rounds=3)
        return [*rows, ("speed", str(found or replica_row(molecule, _SECONDS).note))]
    except ValueError as error:
        return [*rows, ("speed", f"cannot be timed: {error}")]


def _peptides(m: PeptideManifest) -> list[tuple[str, str]]:
    """What a model of many peptides covers, and where it holds."""
    c = m.coverage
    frames = f"{m.training.get('frames', 0):,} frames every {m.frame_interval:g} ps"
    return [
        ("format", f"{m.format}, of {m.created}"),
        ("residues", ", ".join(sorted({key.split()[0] for key in c.templates} - c.ends))),
        ("ends", ", ".join(name or "uncapped" for name in sorted(c.ends))),
        ("length", f"{c.lengths[0]} to {c.lengths[1]} residues without caps, all L or all D"),
        ("steps", f"{m.lag[0]:g} to {m.lag[1]:g} ps, and multiples"),
        ("conditions", f"{m.temperature:g} K, {m.solvent} solvent, {', '.join(m.force_field)}"),
        ("trained on", f"{len(m.sequences)} sequences, {frames}; {len(m.held_out)} sequences held out"),
    ]


def _sections(m: Manifest, path: str, sha256: str) -> list[tuple[str, list[tuple[str, str]]]]:
    from latentmd.units import format_time

    reference = m.reference
    autocorrelation = ", ".join(f"{value:.3f}" for value in m.slow_autocorrelations)
    energies = " / ".join(f"{q:.1f}" for q in reference.energy_quantiles or ())
    energies += " kJ/mol" if energies else ""
    spent = ", ".join(f"{name} {value:g} s" for name, value in m.training.get("seconds", {}).items())
    lag = f" at {format_time(m.autocorrelation_lag)}" if m.autocorrelation_lag else ""
    where = [
        ("molecule", "-".join(residue.name for residue in m.molecule()[0].residues())),
        ("atoms, tokens", f"{len(m.tokens)}, {len(set(m.tokens))}"),
        ("fingerprint", m.fingerprint),
        ("steps", f"{format_time(m.lag[0])} to {format_time(m.lag[1])}, and multiples"),
        ("temperature", f"{m.temperature:g} K"),
        ("solvent", m.solvent),
    ]
    return [
        (m.name or "model", [
            ("file", path),
            ("file SHA-256", sha256),
            ("weights SHA-256", m.weights_sha256),
            ("format", m.format),
            ("created", m.created),
            ("versions", ", ".join(f"{name} {version}" for name, version in m.versions.items())),
        ]),
        ("where it holds", [
            *where,
            ("force field", ", ".join(m.force_field)),
            ("friction, time step", f"{m.friction:g}/ps, {format_time(m.timestep)}"),
        ] if m.of_force_field else [*where, ("energies", m.no_energy)]),
        ("training", [
            ("frames", f"every {format_time(m.frame_interval)}, {reference.frames:,} in all" if reference.frames
             else f"every {format_time(m.frame_interval)}"),
            *((f"{part} trajectories", ", ".join(names)) for part, names in m.split.items() if names),
            ("seed", str(m.seed)),
            ("slow axes", str(m.slow_axes)),
            *([(f"their autocorrelations{lag}", autocorrelation)] if autocorrelation else []),
            *([("slowest timescale of MD", format_time(reference.timescale))] if reference.timescale else []),
            *([("MD energies, 0.1 / 50 / 99.9 %", energies)] if energies else []),
            *([("wall time", spent)] if spent else []),
            *[("the data show", sentence) for sentence in _shown(m)],
        ]),
        ("metrics", [(name, _metric(value)) for name, value in m.metrics.items()]),
    ]  # fmt: skip


def _shown(m: Manifest) -> list[str]:
    """What the training data can teach, in sentences; models of earlier versions do not say."""
    from latentmd.training.seen import Seen

    record = m.training.get("seen")
    return Seen.of(record).sentences() if record else []


def _metric(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_metric(part)}" for name, part in value.items())
    return str(value)
