"""Columns of numbers, checked."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xlnb.common.errors import InputError

Floats = NDArray[np.float64]


def numbers(name: str, values: ArrayLike) -> Floats:
    """Values as a float array (n,). Raises InputError naming them."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected numbers ({error})") from error
    if np.asarray(values).dtype == bool:
        raise InputError(f"{name}: expected numbers, got true and false")
    if array.ndim != 1:
        raise InputError(f"{name}: expected one number a row, got an array of shape {array.shape}")
    return array


def number_columns(n: int, **columns: ArrayLike) -> list[Floats]:
    """The columns as float arrays, each of n finite numbers."""
    arrays = []
    for name, values in columns.items():
        array = numbers(name, values)
        if len(array) != n:
            raise InputError(f"{name}: expected {n} numbers, one a row, got {len(array)}")
        wrong = np.flatnonzero(~np.isfinite(array))
        if len(wrong):
            raise InputError(f"{name}: row {wrong[0]} is not a finite number")
        arrays.append(array)
    return arrays
