"""Types of NumPy arrays by what they hold, for annotations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Real numbers of any precision.
Floats = NDArray[np.floating[Any]]
#: Real numbers in double precision.
Doubles = NDArray[np.float64]
#: Whole numbers, for example indices or labels.
Ints = NDArray[np.integer[Any]]
#: Real or complex numbers.
Arrays = NDArray[np.inexact[Any]]
#: Truth values, for example masks.
Bools = NDArray[np.bool_]
