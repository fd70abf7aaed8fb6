"""An npy file that grows row by row, for arrays whose length is known in the end only."""

from __future__ import annotations

from pathlib import Path

import numpy as np


class GrowingArray:
    """Writes rows of one shape and type; when it is left, the header tells their number.

    Written, not mapped: a full disk is then an error and no crash.

    Args:
        path: of the file.
        dtype: of the array.
        shape: of a row.

    Attributes:
        count: rows so far.
    """

    def __init__(self, path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
        self.count = 0
        self._path, self._dtype, self._shape = path, np.dtype(dtype), shape

    def __enter__(self) -> GrowingArray:
        self._file = self._path.open("wb")
        self._write_header()
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            self._file.seek(0)
            self._write_header()  # of the same length: numpy leaves room for any number of rows

    def append(self, row: np.ndarray | None) -> None:
        """Add a row; None is a row of zeros."""
        row = np.zeros(self._shape, self._dtype) if row is None else row
        self._file.write(np.ascontiguousarray(row, self._dtype).data)
        self.count += 1

    def _write_header(self) -> None:
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.count, *self._shape),
        }
        np.lib.format.write_array_header_1_0(self._file, header)
