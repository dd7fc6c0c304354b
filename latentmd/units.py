"""Units: nm, ps, kJ/mol and K inside; where people read or type, times with a unit, per cent, errors in one line."""

from __future__ import annotations

import math
import re

PICOSECONDS = {"fs": 1e-3, "ps": 1.0, "ns": 1e3, "us": 1e6, "ms": 1e9}

#: Gas constant in kJ/mol/K (CODATA 2018, exact).
GAS_CONSTANT = 8.31446261815324e-3
#: Nanometres per angstrom.
ANGSTROM = 0.1
#: kJ/mol per electronvolt (CODATA 2018).
ELECTRONVOLT = 96.48533212331
#: kJ/mol per kcal/mol.
KILOCALORIE = 4.184

_TIME = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-zµμ]*)")


def parse_time(text: str) -> float:
    """A time with a unit (fs, ps, ns, us, ms), in ps; ValueError where it is none.

    >>> parse_time("10ns"), parse_time("2.5 ps")
    (10000.0, 2.5)
    """
    match = _TIME.fullmatch(text.strip())
    expected = "expected a number and a unit (fs, ps, ns, us or ms), such as 10ns"
    if match is None:
        raise ValueError(f"{text!r} is not a time; {expected}")
    unit = match[2].replace("µ", "u").replace("μ", "u")
    if not unit:
        raise ValueError(f"time {text!r} has no unit; {expected}")
    if unit not in PICOSECONDS:
        raise ValueError(f"time {text!r} has the unknown unit {match[2]!r}; {expected}")
    time = float(match[1]) * PICOSECONDS[unit]
    if not (time > 0 and math.isfinite(time)):
        raise ValueError(f"time {text!r} is not positive; {expected}")
    return time


def percent(share: float, digits: int = 0) -> str:
    """A share as people read it, per cent with `digits` decimals.

    >>> percent(0.999, 1), percent(0.5)
    ('99.9 %', '50 %')
    """
    return f"{100 * share:.{digits}f} %"


def format_time(time: float) -> str:
    """A time in ps with the largest unit that leaves a number of at least one.

    >>> format_time(10000.0), format_time(0.004), format_time(0.0)
    ('10 ns', '4 fs', '0 ps')
    """
    if time == 0:
        return "0 ps"
    fitting = [unit for unit, size in PICOSECONDS.items() if abs(time) >= size * (1 - 1e-9)]
    unit = fitting[-1] if fitting else "fs"
    return f"{time / PICOSECONDS[unit]:.6g} {unit}"


def thermal_energy(temperature: float) -> float:
    """RT in kJ/mol at a temperature in K."""
    return GAS_CONSTANT * temperature


def format_wall(seconds: float) -> str:
    """Write a wall time with the unit that suits it.

    >>> [format_wall(seconds) for seconds in (8.2, 600, 5400, 259200)]
    ['8 s', '10 min', '1.5 h', '3 days']
    """
    for size, unit in ((86400.0, " days"), (3600.0, " h"), (60.0, " min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.2g}{unit}"
    return f"{seconds:.0f} s"


def first_line(error: BaseException) -> str:
    """First line of an error's message, the last of a trace by HDF5, or its kind where it has none."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1 if lines[0].startswith("HDF5 error back trace") else 0]
