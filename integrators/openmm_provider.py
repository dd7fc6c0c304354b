"""Provider of the latent force: a callable that OpenMM's PythonForce asks for displacements and velocities."""

from __future__ import annotations

import contextlib
import io
import math
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import openmm
from openmm import app

from latentmd.arrays import Doubles
from latentmd.core.noise import CounterNoise, Key, step_key, visit_key
from latentmd.integrators.openmm_constraints import ConstraintProjector
from latentmd.integrators.openmm_selection import Selection
from latentmd.model.file import Bundle, BundleError, bundled_models, find
from latentmd.model.peptide_file import NAME, is_peptides, model_sha256
from latentmd.model.propagator import Propagator, UnsoundError
from latentmd.molecule.bonds import make_whole
from latentmd.molecule.matching import HydrogenHands
from latentmd.systems.parametrise import temperature_fault
from latentmd.units import GAS_CONSTANT

# Context parameters through which the integrator talks to the provider.
MODE, KT, TIME = "latentmd_mode", "latentmd_kT", "latentmd_time"
SEED, STREAM, COUNT = "latentmd_seed", "latentmd_stream", "latentmd_step"
FAILURE = "latentmd_failure"  # only with TorchForce
PARAMETERS = (MODE, KT, TIME, SEED, STREAM, COUNT)
WORD = "latentmd_word"  # OpenMM's random number of the step; not with TorchForce

# Values of MODE. IDLE is the closed gate: zero energy and zero forces for whoever asks. LOST is asked of all groups
# when the group of the latent force did not answer.
IDLE, POSITIONS, VELOCITIES, SELECTION, LOST = 0, 1, 2, 3, 6

# The "energy" of an answer to POSITIONS: another force in our group, or none, would hardly give the first by chance.
ANSWERED, FAILED = -1.0, 1.0
LOST_TEXT = (
    "the latent force is no longer alone in its force group: groups were changed after the LatentIntegrator was made; "
    "give the forces their groups first, then make the integrator"
)

Answer = tuple[float, Doubles]

_REMEMBERED = 2**14  # steps; a replica that comes back after more of them is not recognised


class LatentStepError(RuntimeError):
    """A latent step that could not be made; positions, velocities, time and step count are as they were."""


class Visits:
    """How often a Context made one latent step, each time with other random numbers of OpenMM's.

    Checkpoints restore those, States do not: the same number again is a repetition from a checkpoint, another number is
    another replica, or a State that was loaded again: a new visit.
    """

    def __init__(self) -> None:
        self._words: OrderedDict[Key, list[float]] = OrderedDict()

    def number(self, key: Key, word: float) -> int:
        """Number of the visit, from 0; `word` is OpenMM's random number of the step."""
        words = self._words.get(key, [])
        return words.index(word) if word in words else len(words)

    def add(self, key: Key, word: float) -> None:
        """Remember a step that was made."""
        words = self._words.setdefault(key, [])
        if word not in words:
            words.append(word)
        if len(self._words) > _REMEMBERED:
            self._words.popitem(last=False)


_visits: WeakKeyDictionary[openmm.Integrator, Visits] = WeakKeyDictionary()
_current = threading.local()


@contextlib.contextmanager
def remembered(integrator: openmm.Integrator) -> Iterator[None]:
    """Make the visits of an integrator's Context known to the steps that this thread makes."""
    _current.visits = _visits.setdefault(integrator, Visits())
    try:
        yield
    finally:
        del _current.visits


def visits(otherwise: Visits) -> Visits:
    """Those of the integrator that this thread steps; `otherwise` where it was stepped by other code."""
    return getattr(_current, "visits", otherwise)


class LatentProvider:
    """Displacements and velocities of latent steps, as the "forces" of a PythonForce.

    With MODE = POSITIONS it returns the displacement [n, 3] nm to positions TIME ps later that meet the constraints
    and the energy ANSWERED, and keeps the new velocities for MODE = VELOCITIES: Maxwell–Boltzmann, projected on the
    constraints. SELECTION returns ones. A failure is returned as energy FAILED with zero forces; the integrator then
    closes the gate and asks again, and only that call raises, so that nothing in the Context has changed.

    It holds no Context, System or State, and nothing that decides a later step. It pickles as name or path, SHA-256 and
    selection. OpenMM crashes where unpickling raises: a model that is gone or changed is a warning, and the error of
    the first step. `draws` counts structures looked at, `steps` latent steps made.
    """

    def __init__(
        self, source: str | Path, selection: Selection, device: str = "auto", sha256: str | None = None
    ) -> None:
        self.source, self.selection, self.device = _portable(source), selection, device
        self._model: tuple[Propagator, HydrogenHands] | None = None
        self.sha256 = model_sha256(source)
        if sha256 is not None and sha256 != self.sha256:
            raise BundleError(
                f"{source} has SHA-256 {self.sha256[:12]}…, the saved System was made with {sha256[:12]}…; "
                "put the original bundle back, or build the System again"
            )
        self.projector = ConstraintProjector(selection.pairs, selection.lengths, selection.masses)
        self._mass = self.projector.masses.sum()
        self.last_error: BaseException | None = None
        self.steps = self.draws = 0
        self._visits = Visits()
        self._idle = np.zeros((len(selection.atoms), 3))
        self._velocities: dict[int, Doubles] = {}  # by thread: Contexts may be stepped from several
        self._failures: dict[int, str] = {}
        if not selection.molecule:
            self.model()

    def model(self, positions: Doubles | None = None) -> tuple[Propagator, HydrogenHands]:
        """The model and the hands of its hydrogens; a model of many peptides is bound at the first positions, nm."""
        if self._model is None:
            bundle: str | Bundle = self.source
            if self.selection.molecule:
                from latentmd.model.binding import bound_bundle

                topology = app.PDBFile(io.StringIO(self.selection.molecule)).topology
                bundle = bound_bundle(topology, np.asarray(positions), self.source)
            propagator = Propagator(bundle, self.device)
            self._model = propagator, HydrogenHands.of(*propagator.molecule())
        return self._model

    @property
    def propagator(self) -> Propagator:
        """The model."""
        return self.model()[0]

    @property
    def __call__(self) -> Callable[[openmm.State], Answer]:
        """Takes the State, returns the energy and the forces [n, 3].

        OpenMM leaks the traceback of an exception raised here, and a function's frame holds its callers', down to
        the Simulation. A generator's frame holds no caller; so a generator answers, by its C-level `send`.
        """
        return answering(self)

    def respond(self, state: openmm.State) -> Answer | str:
        """The answer to OpenMM, or the text of the failure to raise."""
        try:
            parameters = state.getParameters()
            mode = int(parameters[MODE])
            if mode == IDLE:
                failure = self._failures.pop(threading.get_ident(), None) if self._failures else None
                return failure if failure is not None else (0.0, self._idle)
            if mode == POSITIONS:
                return ANSWERED, self._displacements(state, parameters)
            if mode == SELECTION:
                return 0.0, self._idle + 1.0
            if mode == LOST:
                raise LatentStepError(LOST_TEXT)
            velocities = self._velocities.pop(threading.get_ident(), None)
            return (FAILED, self._idle) if velocities is None else (0.0, velocities)
        except BaseException as error:
            # OpenMM keeps only the text of an exception, leaks its traceback and crashes if it has no text: so it is
            # noted here, and a small one raised when the integrator has closed the gate.
            self._note(error)
            return FAILED, self._idle

    def selected_positions(self, state: openmm.State) -> Doubles:
        """Positions [n, 3] nm of the model's atoms in a State of the whole System, molecules whole."""
        x = state.getPositions(asNumpy=True)._value[list(self.selection.atoms)]
        return make_whole(x, self.selection.tree, _box(state)) if self.selection.periodic else x

    def __repr__(self) -> str:
        return f"LatentProvider({self.source!r}, {len(self.selection.atoms)} atoms, {self.steps} latent steps made)"

    def __reduce__(self) -> tuple[Callable[..., LatentProvider], tuple[str, Selection, str, str]]:
        return _restore, (self.source, self.selection, self.device, self.sha256)

    def _note(self, error: BaseException) -> None:
        try:
            text = str(error)
        except Exception:
            text = "(its text cannot be read)"
        self.last_error = error.with_traceback(None)
        self.last_error.__context__ = self.last_error.__cause__ = None
        self._failures[threading.get_ident()] = f"latent step failed: {type(error).__name__}: {text[:500]}"

    def _displacements(self, state: openmm.State, parameters: Mapping[str, float]) -> Doubles:
        self._failures.pop(threading.get_ident(), None)
        x = state.getPositions(asNumpy=True)._value
        if not np.isfinite(x).all():
            raise LatentStepError("the positions in the Context are not finite; load an earlier state")
        if self.selection.periodic:
            x = make_whole(x, self.selection.tree, _box(state))
        kT, word = float(parameters[KT]), float(parameters[WORD])
        if fault := temperature_fault(parameters, kT / GAS_CONSTANT):
            raise LatentStepError(fault)
        made = visits(self._visits)
        step = step_key(int(parameters[SEED]), int(parameters[STREAM]), int(parameters[COUNT]), x, parameters)
        key = visit_key(step, made.number(step, word))
        y = self._propose(x, float(parameters[TIME]), key)
        noise, still = CounterNoise(*key, purpose=1), self.selection.remove_momentum
        self._velocities[threading.get_ident()] = self.projector.draw_velocities(y, kT, noise, still)
        made.add(step, word)
        self.steps += 1
        return np.asarray(y - x)

    def _propose(self, x: Doubles, time: float, key: Key) -> Doubles:
        """Positions after `time`, the first of MAX_DRAWS that pass the checks of structure."""
        masses = self.projector.masses
        centre = masses @ x / self._mass
        propagator, hydrogens = self.model(x)
        order, drawn = hydrogens.order(x), np.empty_like(x)
        try:
            step = propagator.sound_step(x[order], time, lambda draw: self._noise(key, draw), masses[order])
        except UnsoundError as error:
            raise LatentStepError(str(error)) from error
        drawn[order] = step.positions
        y = self.projector.project_positions(drawn)
        y += centre - masses @ y / self._mass
        moved = y - x
        longest = math.sqrt(np.einsum("ai,ai->a", moved, moved).max())
        if not longest <= (reach := self.selection.reach):
            raise LatentStepError(f"an atom would move {longest:.3g} nm; the molecule allows {reach:.3g} nm")
        return np.asarray(y)

    def _noise(self, key: Key, draw: int) -> CounterNoise:
        """Noise of a draw, which follows from the key of the step alone."""
        self.draws += 1
        return CounterNoise(*key, purpose=2 + draw)


def _box(state: openmm.State) -> Doubles:
    return np.asarray(state.getPeriodicBoxVectors(asNumpy=True)._value)


def answering(provider: Any) -> Callable[[openmm.State], Answer]:
    """The callable for OpenMM of something with `respond`; see `LatentProvider.__call__`."""
    answers = _answers(provider)
    next(answers)
    return answers.send


def _answers(provider: Any) -> Generator[Any, Any, None]:
    state = yield
    answer = provider.respond(state)
    del provider, state  # a leaked traceback keeps what is left here
    if isinstance(answer, str):
        raise LatentStepError(answer)
    yield answer


class _Unloadable(LatentProvider):
    """Stands in for a provider whose model could not be loaded again: every step fails with the reason."""

    def __init__(self, reason: Exception, source: str, selection: Selection, device: str, sha256: str) -> None:
        self.reason, self.source, self.selection, self.device, self.sha256 = reason, source, selection, device, sha256
        self.last_error = reason
        self.steps = self.draws = 0
        self._idle = np.zeros((len(selection.atoms), 3))
        self._velocities, self._failures = {}, {}

    def _displacements(self, state: openmm.State, parameters: Mapping[str, float]) -> Doubles:
        raise BundleError(str(self.reason))


def _portable(source: str | Path) -> str:
    """A bundled model by its name, any other by its absolute path."""
    if str(source) in (*bundled_models(), NAME):
        return str(source)
    return str((Path(source) if is_peptides(source) else find(source)).resolve())


def _restore(source: str, selection: Selection, device: str, sha256: str) -> LatentProvider:
    """Unpickle a provider: load the bundle again and insist on the same file."""
    try:
        return LatentProvider(source, selection, device, sha256)
    except Exception as error:
        with contextlib.suppress(Warning):  # where warnings are errors
            warnings.warn(f"the latent force cannot step: {error}", stacklevel=2)
        return _Unloadable(error, source, selection, device, sha256)
