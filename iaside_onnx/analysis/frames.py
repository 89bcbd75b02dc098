"""Archives as what other programs compute with: an xarray data set, a pandas table.

Values come from the open archive, not from xarray's own reading of the file: no attribute of a
file, which may come from a stranger, decides how a value is read, and what was checked when the
archive was opened stays checked.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from iaside_onnx.analysis.conversion import table_of
from iaside_onnx.archive import ArchiveFile, Variable
from iaside_onnx.errors import ExtraMissingError, install_extra

if TYPE_CHECKING:
    import pandas
    import xarray

__all__ = ["to_dataframe", "to_xarray"]


def to_xarray(archive: ArchiveFile) -> xarray.Dataset:
    """All variables as a data set; see `iaside_onnx.archive.ArchiveFile.to_xarray`."""
    try:
        import xarray
    except ImportError as error:
        raise ExtraMissingError(
            f"data sets need xarray ({error}): {install_extra('xarray')}"
        ) from error
    declared = archive.declared
    variables = {
        name: xarray.Variable(variable.dims, _values(archive, name, variable), _attrs(variable))
        for name, variable in declared.items()
    }
    coordinates = {
        name
        for name, variable in declared.items()
        if variable.coordinate or variable.is_scale(name)
    }
    return xarray.Dataset(
        {name: values for name, values in variables.items() if name not in coordinates},
        {name: values for name, values in variables.items() if name in coordinates},
        _root_attrs(archive),
    )


def _attrs(variable: Variable) -> dict[str, str]:
    units = {"units": variable.units} if variable.units else {}
    return {"long_name": variable.long_name, **units}


def _root_attrs(archive: ArchiveFile) -> dict[str, Any]:
    """The root attributes as NetCDF can hold them: numbers and text, all else as JSON."""
    return {
        name: value if isinstance(value, int | float | str) else json.dumps(value)
        for name, value in asdict(archive.metadata).items()
        if value is not None
    }


def _values(archive: ArchiveFile, name: str, variable: Variable) -> Any:
    """The values of a variable; those of a large one are read when they are asked for."""
    if not variable.streamed:
        return archive[name]
    from iaside_onnx.analysis.streamed import streamed

    return streamed(archive, name)


def to_dataframe(archive: ArchiveFile, table: str | None = None) -> pandas.DataFrame:
    """A table in memory; see `iaside_onnx.archive.ArchiveFile.to_dataframe`."""
    try:
        import pandas
    except ImportError as error:
        raise ExtraMissingError(
            f"tables need pandas ({error}): {install_extra('pandas')}"
        ) from error
    long = table_of(archive, table)
    blocks = [pandas.DataFrame(dict(block)) for block in long.blocks()]
    found = pandas.concat(blocks, ignore_index=True)
    found.attrs["units"] = long.units
    return found
