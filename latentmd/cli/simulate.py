"""`latentmd simulate`: a PDB file in, trajectories out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from latentmd.cli.common import BadInput, Time, WallTime, input_options, run_errors, show_result
from latentmd.cli.progress import Display
from latentmd.units import percent

if TYPE_CHECKING:
    from latentmd.sampling.metropolis.settings import ChainsResult

_SHOWN = 12  # most sentences about what is missing


def show_chains(result: ChainsResult) -> None:
    """A few lines about finished exact chains."""
    from latentmd.sampling.metropolis.page import state_words, verdict

    summary = result.summary
    taken, effective = summary["accepted"].get("draw"), summary["effective_samples"]
    moves = (
        f"{percent(taken, 1)} of the drawn torsions accepted" if taken is not None else "rings moved by the ladder only"
    )
    least = "no well from 1 to 99 %" if effective is None else f"at least {effective:.0f} effective samples of a state"
    click.echo(f"{summary['frames']} frames of equal weight, {least}; {moves}")
    for name, population in summary["populations"].items():
        low, high = population["degrees"]
        if high - low < population["period"]:
            click.echo(f"  {name}: population {population['in_words']}")
    for sentence in summary["remarks"]:
        click.echo(f"  {sentence}")
    if summary["plain_md"] is not None:
        click.echo(verdict(summary["plain_md"]))
    click.echo(state_words(summary) + (":" if summary["missing"] else ""))
    for sentence in summary["missing"][:_SHOWN]:
        click.echo(f"  - {sentence}")
    if len(summary["missing"]) > _SHOWN:
        click.echo(f"  - and {len(summary['missing']) - _SHOWN} more, in free_energy.html")
    for sentence in summary["notes"]:
        click.echo(sentence)
    click.echo(
        f"wrote {result.folder}/: {summary['file']}, metropolised.npz, free_energy.html, summary.json"
        + (", conformers.sdf" if (result.folder / "conformers.sdf").exists() else "")
    )


def _gone(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Refuse an option of earlier versions."""
    if value is not None:
        raise click.UsageError("--exactness is gone: exact chains are --mode chains")


@click.command(
    "simulate",
    epilog="""\b
Examples:
  latentmd simulate systems/molecules/alanine_dipeptide.pdb
  latentmd simulate my.pdb --wall 5min --resume --out exact
  latentmd simulate my.pdb --model my.pt --time 100ns --walkers 64 --seed 7
  latentmd simulate my.pdb --mode latent --time 1us --save-every 1ns --out long
  latentmd simulate my.pdb --mode md --time 1ns --temperature 300
  latentmd simulate my.pdb --mode chains --wall 30min --resume --out sampled
  latentmd simulate ligand.pdb --force-field ligand.xml --solvent vacuum --mode chains --wall 30min
  latentmd simulate aspirin.sdf --wall 3min
  latentmd simulate --smiles "CC(=O)Oc1ccccc1C(=O)O" --name aspirin --wall 3min
  latentmd simulate my.prmtop --positions my.inpcrd --mode chains --wall 30min""",
)
@click.argument("pdb", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option("--model", help="Bundled model or path of one. [default: the bundled model that covers the molecule]")
@click.option(
    "--time",
    type=Time(),
    help="Simulated time per walker; not with --mode chains. [default: 10ns]",
)
@click.option(
    "--wall",
    type=WallTime(),
    help="Wall time of everything, over all sessions, such as 30min; what is there by then is the result. "
    "[default: 10min for chains that are chosen for you and plain MD without --time, else any]",
)
@click.option("--walkers", type=click.IntRange(min=1), help="Independent runs. [default: 16]")
@click.option(
    "--mode",
    metavar="[model|latent|chains|md]",
    help="Latent steps of a model and MD by turns, latent steps only, exact chains of a small molecule, or plain MD. "
    "[default: model where one covers the molecule, else chains to 150 atoms, else md; it says why]",
)
@click.option("--exactness", hidden=True, expose_value=False, callback=_gone, help="Gone.")
@click.option("--temperature", type=float, help="Kelvin; must be the model's, except with --mode md or chains.")
@click.option("--save-every", type=Time(), help="Time between frames. [default: 100ps]")
@click.option("--cycle", type=Time(), help="Alternation: time from one MD burst to the next. [default: about 1ns]")
@click.option("--burst", type=Time(), help="Alternation: MD at the end of a cycle. [default: 2ps]")
@click.option(
    "--settle",
    type=click.Choice(["on", "off"]),
    callback=lambda _context, _option, value: None if value is None else value == "on",
    help="Settle decoded structures by a short run of MD before they are written. [default: on]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides all randomness.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the model runs.",
)
@click.option(
    "--solvent",
    type=click.Choice(["implicit", "vacuum", "explicit"]),
    help="Must be the model's, except with --mode md or chains. [default: the model's, or implicit]",
)
@click.option(
    "--force-field",
    multiple=True,
    metavar="XML",
    help="OpenMM force-field XML, may be repeated; must be the model's, except with --mode md or chains.",
)
@click.option("--processes", type=click.IntRange(min=1), help="Worker processes. [default: one per core]")
@click.option("--scheduler", metavar="ADDRESS", help="Chains: Dask scheduler that runs them, tcp://host:port.")
@click.option("--out", type=click.Path(path_type=Path), help="Output folder. [default: <stem>-latentmd, or -chains]")
@click.option("--overwrite", is_flag=True, help="Replace an earlier run in the folder.")
@click.option("--resume", is_flag=True, help="Go on with the run in the folder; begins where there is none.")
@click.option("--name", help="With --smiles and no FILE: begins the name of the output. [default: molecule]")
@click.option("--enumerate", "isomers", is_flag=True, help="Undefined stereocentres: a run of each isomer.")
@input_options
def simulate_command(pdb: Path | None, name: str | None, isomers: bool, **options: Any) -> None:
    """Simulate the molecule in FILE with a model and write full-atom trajectories.

    FILE is a PDB, mmCIF or GRO file, or one that brings its own force field: an Amber prmtop, GROMACS top or CHARMM psf
    with --positions, or a PDB or mmCIF file with --system; or an SDF, MOL2 or --smiles of a small molecule. A model
    covers it only if its force field is the model's.

    Writes topology.pdb, walker-0000.xtc and on, provenance.csv (how each frame was made), summary.json, report.png and
    evaluation.html (metrics, figures and a 3-D view, beside the model's training data).
    Frames are `settled` (decoded from a latent step, then 100 steps of MD; with --settle off `latent`), `relaxed`
    (minimised after a latent step, then moved by MD) or `md`. Chains write free_energy.html, metropolised.xtc,
    metropolised.npz, topology.pdb and summary.json, and all their frames weigh the same.
    """
    from latentmd.sampling.run.clock import process_start
    from latentmd.systems.ligands import records

    if pdb is None and options["inputs"].smiles is None:
        raise click.UsageError("Missing argument 'FILE', or --smiles with a small molecule")
    if pdb is not None and name is not None:
        raise click.UsageError("--name is for --smiles without a FILE; --out names the output")
    pdb, begun = pdb or Path(name or "molecule"), process_start()
    with run_errors():
        found = records(pdb, options["inputs"], isomers) if isomers or options["inputs"].system is None else {}
    if len(found) < 2:
        options["inputs"] = next(iter(found.values()), options["inputs"])
        _simulate_one(pdb, begun, options)
        return
    from latentmd.sampling.sample import DEFAULT_WALL

    folder, failed = options["out"] or Path(f"{pdb.stem}-conformers"), []
    wall = options["wall"] or DEFAULT_WALL * len(found)
    for number, (label, inputs) in enumerate(found.items()):
        click.echo(f"{label} ({number + 1} of {len(found)})")
        one = {**options, "inputs": inputs, "out": folder / label, "wall": wall / len(found)}
        try:
            _simulate_one(pdb, begun if number == 0 else None, one)
        except click.ClickException as error:
            failed.append(label)
            click.echo(f"{label}: {error.message}", err=True)
    if failed:
        raise BadInput(f"{len(failed)} of {len(found)} molecules were not simulated: {', '.join(failed)}")


def _simulate_one(pdb: Path, begun: float | None, options: dict[str, Any]) -> None:
    from latentmd.sampling.metropolis.settings import ChainsResult
    from latentmd.sampling.sample import simulate

    with run_errors():
        with Display(picoseconds=True) as display:
            result = simulate(pdb, progress=display, begun=begun, **options)
        if isinstance(result, ChainsResult):
            show_chains(result)
        else:
            show_result(result)
