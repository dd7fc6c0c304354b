"""Walkers of many molecules as one data set: plain MD, which `latentmd train` reads, or rollouts of a model.

request.json         what the data set was asked for
manifest.json        the molecules that are done, with their files; those that failed, with the reasons
NAME/                run of a molecule, as for one alone: topology.pdb, walker-0000.xtc, ...

Molecules run side by side, each in as many processes as its walkers fill with replicas, or one on each thread of the
workers of a Dask cluster, which write to the same folder. What is made of a molecule depends on the settings, its file
and its name, not on where it was made, nor on which others are in the data set.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from operator import call
from pathlib import Path
from threading import Event, Lock
from typing import Any

from openmm import app

from latentmd.core.noise import child_seed
from latentmd.io.atomic import OutputError, write_json
from latentmd.io.folder import RECORD, RunFiles, claim_folder
from latentmd.io.progress import Progress, quiet
from latentmd.replicas.library import library
from latentmd.sampling.run.options import WalkerOptions
from latentmd.sampling.run.processes import cores
from latentmd.sampling.run.scheduler import open_scheduler
from latentmd.sampling.run.stopping import RunError, RunInterrupted, RunResult
from latentmd.sampling.walkers.folder import WALKERS
from latentmd.sampling.walkers.md import md_options, md_plan, md_protocol
from latentmd.sampling.walkers.plan import RolloutPlan, check_times, processes_for
from latentmd.sampling.walkers.run import execute
from latentmd.units import format_time

logger = logging.getLogger(__name__)

FORMAT = "latentmd-data-set-1"
MANIFEST = "manifest.json"
_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif", ".gro")  # of files taken from a folder, also with .gz
_ALONE = Lock()  # random numbers and figures of libraries are shared by the threads of a process


#: Values of a JSON file by name.
Record = dict[str, Any]
#: A plan of the run of one molecule, by its file and the options of its walkers.
MakePlan = Callable[[Path, WalkerOptions], RolloutPlan]


@dataclass(frozen=True)
class DataSetResult:
    """A data set that was made, and the content of its manifest.json."""

    folder: Path
    manifest: Record

    @property
    def failed(self) -> dict[str, str]:
        """Reasons by the names of the molecules that could not be simulated."""
        return {row["name"]: row["error"] for row in self.manifest["failed"]}

    @property
    def told(self) -> list[str]:
        """A few lines about it."""
        made = self.manifest["molecules"]
        time = sum(sum(row["frames"]) for row in made) * self.manifest["frame_interval_ps"]
        failed = [f"failed: {', '.join(self.failed)}; manifest.json has the reasons"] if self.failed else []
        count = f"{len(made)} molecule{'s' * (len(made) > 1)}, {format_time(time)} in all"
        return [count, *failed, f"wrote {self.folder}/: manifest.json and a folder for each molecule"]

    def __repr__(self) -> str:
        return f"DataSetResult({str(self.folder)!r}, {len(self.manifest['molecules'])} molecules)"


def molecule_files(paths: Sequence[Path]) -> dict[str, Path]:
    """Files of molecules by name, the stem of the file; folders stand for the PDB, mmCIF and GRO files in them.

    ValueError for a file that does not exist, a folder without such files, or two files of one name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path}: no such file or folder")
        inside = sorted(p for p in path.iterdir() if _is_molecule(p)) if path.is_dir() else [path]
        if not inside:
            raise ValueError(f"{path}: no molecules in this folder; expected files that end in {', '.join(_SUFFIXES)}")
        for file in inside:
            name = Path(file.name.removesuffix(".gz")).stem
            if name in found:
                raise ValueError(f"{found[name]} and {file} would both be called {name}; rename one of them")
            found[name] = file
    return dict(sorted(found.items()))


def _is_molecule(path: Path) -> bool:
    name = path.name.lower().removesuffix(".gz")
    return name.endswith(_SUFFIXES) and not name.startswith(".") and path.is_file()


def md_data_set(
    files: Sequence[str | Path], *, scheduler: str | None = None, progress: Progress | None = None, **options: Any
) -> DataSetResult:
    """Simulate walkers of many molecules into one folder; a molecule that cannot be simulated does not stop the others.

    Args:
        files: PDB, mmCIF or GRO files, and folders of them; a molecule is called by the stem of its file.
        scheduler: address of a Dask scheduler whose workers see the same files and folders; this machine where None.
        progress: called with (stage, simulated ps, total ps) over all molecules.
        options: as of `latentmd.md`, for each molecule; `out` is the folder of the data set. With `resume`, molecules
            that are done are kept, those begun go on, those that failed are tried again, and further ones may be given.

    Returns:
        The data set, with the molecules that failed.

    Raises:
        ValueError: a setting is wrong, there are no molecules, two of them have one name, or no scheduler answers.
        OutputError: the folder cannot be used.
        RunError: not one molecule could be simulated.
        RunInterrupted: Ctrl-C.
    """
    settings = md_options(scheduler=scheduler, **options)
    protocol = md_protocol(settings)
    check_times(settings.time, settings.interval, protocol.timestep)
    recorded = json.loads(json.dumps(asdict(protocol)))
    head = {"protocol": recorded | {"force_field": list(protocol.force_field_files)}}
    return make_data_set(files, settings, md_plan, head=head, also={"protocol": recorded}, report=progress or quiet)


def make_data_set(
    files: Sequence[str | Path], settings: WalkerOptions, plan: MakePlan, head: Record, also: Record, report: Progress
) -> DataSetResult:
    """Simulate the molecules of files, each by a plan of its own; errors as of `md_data_set`.

    The manifest states `head`; a resumed data set has the same conditions, settings and what they are `also`.
    """
    if settings.wall is not None:
        raise ValueError("--wall belongs to one molecule; leave it out, or simulate the molecules one by one")
    processes_for(settings.walkers, settings.processes)
    for name in ("positions", "parameters", "system", "smiles"):
        if getattr(settings.inputs, name):
            raise ValueError(f"--{name} belongs to one molecule; leave it out, or simulate that molecule by itself")
    molecules = molecule_files([Path(file) for file in files])
    s = settings
    request = {"time": s.time, "save every": s.interval, "walkers": s.walkers, "seed": s.seed, **also}
    runs = []  # of molecules, which are removed where they are to be replaced
    for record in s.out.glob(f"*/{RECORD}") if s.out.is_dir() else ():
        with suppress(ValueError, OSError, AttributeError):
            if json.loads(record.read_text(encoding="utf-8")).get("run") == WALKERS.kind:
                runs.append(record.parent.name)
    with claim_folder(s.out, s.policy, RunFiles("data set", (MANIFEST, *runs)), request):
        made = _DataSet(molecules, settings, plan, head, report)
        made.run(s.scheduler)
    if not made.done:
        name, reason = next(iter(made.failed.items()))
        raise RunError(f"none of {len(molecules)} molecules could be simulated; {name}: {reason['error']}")
    return DataSetResult(s.out, made.manifest())


def simulate_molecule(path: Path, settings: WalkerOptions, plan: MakePlan, report: Progress = quiet) -> RunResult | str:
    """Simulate one molecule of a data set, or go on with it; its run, or why there is none."""
    try:
        with _ALONE:
            made = plan(path, settings)
        made.alone = _ALONE
        return execute(made, report)
    except OutputError:
        raise
    except (ValueError, RunError) as error:
        return str(error)


class _DataSet:
    def __init__(
        self, molecules: dict[str, Path], settings: WalkerOptions, plan: MakePlan, head: Record, progress: Progress
    ) -> None:
        self.molecules, self.settings, self.plan, self.progress = molecules, settings, plan, progress
        self.head = head
        self.hashes = {name: _sha256(path) for name, path in molecules.items()}
        self.done = self._kept()
        self.failed: dict[str, Record] = {}
        self.each = settings.walkers * settings.time
        self.simulated = dict.fromkeys((name for name in molecules if name in self.done), self.each)
        self.reporting, self.stopped = Lock(), Event()

    def run(self, scheduler: str | None) -> None:
        """Simulate the molecules that are not done, several at once."""
        left = [name for name in self.molecules if name not in self.done]
        self._write()
        try:
            self._here(left) if scheduler is None else self._on_cluster(left, scheduler)
        except KeyboardInterrupt:
            frames = round(sum(self.simulated.values()) / self.settings.interval)
            raise RunInterrupted(self.settings.out, frames) from None

    def _on_cluster(self, left: list[str], scheduler: str) -> None:
        """Simulate molecules as tasks of a Dask cluster; one whose worker dies goes on from its files elsewhere."""
        work = [
            partial(simulate_molecule, self.molecules[name].absolute(), self._settings(name, 1), self.plan)
            for name in left
        ]
        with open_scheduler(scheduler, 1, alone=True) as cluster:
            self._report()
            for name, result in zip(left, cluster.map(call, work), strict=True):
                self.simulated[name] = self.each
                self._take(name, result)
                self._report()

    def _here(self, left: list[str]) -> None:
        """Simulate molecules in processes of this machine."""
        wanted, kernel = self.settings.processes or cores(), library()
        lanes = 1 if kernel is None else kernel.lanes  # a process takes a walker for each
        explicit = self.settings.solvent == "explicit"
        processes = wanted if explicit else min(wanted, -(-self.settings.walkers // lanes))
        at_once = 1 if explicit else max(1, wanted // processes)
        with ThreadPoolExecutor(at_once) as pool:
            running = [pool.submit(self._one, name, processes) for name in left]
            try:
                for future in as_completed(running):
                    self._take(*future.result())
            except BaseException:
                self.stopped.set()
                pool.shutdown(cancel_futures=True)
                raise

    def manifest(self) -> Record:
        """Content of manifest.json: what the data set holds, decided by the settings and the files alone."""
        s, rows = self.settings, {"molecules": self.done, "failed": self.failed}
        run = {"time_ps": s.time, "frame_interval_ps": s.interval, "walkers": s.walkers, "seed": s.seed}
        listed = {name: [row for _, row in sorted(found.items())] for name, found in rows.items()}
        return {"format": FORMAT, **run, **self.head, **listed}

    def _settings(self, name: str, processes: int) -> WalkerOptions:
        """Settings of the walkers of one molecule."""
        out, seed = self.settings.out.absolute() / name, molecule_seed(self.settings.seed, name)
        return replace(self.settings, out=out, seed=seed, processes=processes, resume=True, overwrite=False)

    def _report(self) -> None:
        count = len(self.molecules)
        self.progress(f"{count} molecule{'s' * (count > 1)}", sum(self.simulated.values()), self.each * count)

    def _one(self, name: str, processes: int) -> tuple[str, RunResult | str]:
        """Simulate a molecule; its run, or why there is none."""

        def report(stage: str, done: float | None = None, total: float | None = None, values: Any = None) -> None:
            if self.stopped.is_set():
                raise KeyboardInterrupt
            with self.reporting:
                self.simulated[name] = self.simulated.get(name, 0.0) if done is None else done
                self._report()

        report("preparing", self.simulated.get(name, 0.0), 0.0)
        return name, simulate_molecule(self.molecules[name], self._settings(name, processes), self.plan, report)

    def _take(self, name: str, result: RunResult | str) -> None:
        source = {"name": name, "source": str(self.molecules[name]), "sha256": self.hashes[name]}
        if isinstance(result, str):
            logger.warning("%s: %s", name, result)
            self.failed[name] = {**source, "error": result}
            self.simulated[name] = self.each  # nothing is left to do
        else:
            self.done[name] = {**source, **_row(name, result)}
        self._write()

    def _write(self) -> None:
        write_json(self.settings.out / MANIFEST, self.manifest())

    def _kept(self) -> dict[str, Record]:
        """Molecules of an earlier session that are done; OutputError where one has another file now."""
        path = self.settings.out / MANIFEST
        if not path.exists():
            return {}
        try:
            rows = {row["name"]: row for row in json.loads(path.read_text(encoding="utf-8"))["molecules"]}
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{path} cannot be read ({error!r}); start anew with --overwrite") from error
        for name, row in rows.items():
            if row["sha256"] != self.hashes.get(name, row["sha256"]):
                raise OutputError(
                    f"{self.molecules[name]} is not the file that {self.settings.out / name} was made from; resume "
                    "with that one, or rename the new one"
                )
        files = {name: [row["topology"], *row["trajectories"]] for name, row in rows.items()}
        return {n: row for n, row in rows.items() if all((self.settings.out / file).exists() for file in files[n])}


def molecule_seed(seed: int, name: str) -> int:
    """Seed of a molecule's run, below 2^31: `latentmd md` with it makes the same frames of the molecule alone."""
    return child_seed(seed, *name.encode())


def _row(name: str, result: RunResult) -> Record:
    told = ("atoms", "frames", "frames_failing_checks", "seed", "engine")
    return {
        "topology": f"{name}/{result.topology.name}",
        "trajectories": [f"{name}/{path.name}" for path in result.trajectories],
        "residues": [residue.name for residue in app.PDBFile(str(result.topology)).topology.residues()],
        **{key: result.summary[key] for key in told if key in result.summary},
    }


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""  # building the molecule says what is wrong
