"""Archives as what other programs compute with: an xarray data set, a pandas table.

Values come from the open archive, not from xarray's own reading of the file: no attribute of a
file, which may come from a stranger, decides how a value is read, and what was checked when the
archive was opened stays checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from iaside_onnx.analysis.conversion import table_of
from iaside_onnx.archive import ArchiveFile, Variable
from iaside_onnx.errors import ExtraMissingError, OptionError, install_extra, nearest

if TYPE_CHECKING:
    import pandas
    import xarray

    from iaside_onnx.analysis.comparison import Comparison, Pair
    from iaside_onnx.analysis.interactions import Interactions
    from iaside_onnx.analysis.series import Series

__all__ = [
    "comparison_dataframe",
    "interactions_dataframe",
    "series_dataframe",
    "to_dataframe",
    "to_xarray",
]


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
    pandas = _pandas()
    long = table_of(archive, table)
    blocks = [pandas.DataFrame(dict(block)) for block in long.blocks()]
    found = pandas.concat(blocks, ignore_index=True)
    found.attrs["units"] = long.units
    return found


def _pandas() -> Any:
    """The module.

    Raises:
        ExtraMissingError: if it is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise ExtraMissingError(
            f"tables need pandas ({error}): {install_extra('pandas')}"
        ) from error
    return pandas


def comparison_dataframe(comparison: Comparison, table: str = "bands") -> pandas.DataFrame:
    """A table of differences; see `iaside_onnx.Comparison.to_dataframe`."""
    makers = {"bands": _band_rows, "pairs": _pair_rows}
    if table not in makers:
        raise OptionError(f"unknown table {table!r}{nearest(table, makers, 'tables')}")
    rows = [{**_which(pair), **row} for pair in comparison.pairs for row in makers[table](pair)]
    found: pandas.DataFrame = _pandas().DataFrame(rows)
    return found


def series_dataframe(series: Series) -> pandas.DataFrame:
    """A table of steps and changes; see `iaside_onnx.Series.to_dataframe`."""
    both = {"previous": series.steps, "first": series.comparison.pairs}
    rows = [
        {"against": against, **_which(pair), **row}
        for against, pairs in both.items()
        for pair in pairs
        for row in _pair_rows(pair)
    ]
    found: pandas.DataFrame = _pandas().DataFrame(rows)
    return found


def interactions_dataframe(interactions: Interactions) -> pandas.DataFrame:
    """A table of pairs of bands; see `iaside_onnx.Interactions.to_dataframe`."""
    rows = []
    for band, other in interactions.pairs():
        one = interactions.interval(band, other)
        rows.append(
            {"band": band, "other": other, "value": one.value, "low": one.low, "high": one.high}
        )
    found: pandas.DataFrame = _pandas().DataFrame(rows)
    return found


def _which(pair: Pair) -> dict[str, Any]:
    return {
        "baseline": pair.reference.recipe.baseline,
        "reference": str(pair.reference.path),
        "archive": str(pair.archive.path),
        "images": pair.images,
    }


def _band_rows(pair: Pair) -> Iterator[dict[str, Any]]:
    game = pair.game
    names = [f"{kind}{end}" for kind in ("phi", "psi") for end in ("", "_low", "_high")]
    for band in range(game.phi.size):
        yield {"band": band, **{name: float(getattr(game, name)[band]) for name in names}}


def _pair_rows(pair: Pair) -> Iterator[dict[str, Any]]:
    values = {
        "sis": pair.sis,
        "log_probability": pair.log_probability,
        "agreement": pair.agreement,
    }
    if pair.accuracy is not None:
        values["accuracy"] = pair.accuracy.difference
    row = {
        f"{name}{end}": getattr(one, field)
        for name, one in values.items()
        for end, field in (("", "value"), ("_low", "low"), ("_high", "high"))
    }
    yield {**row, "p_value": None if pair.accuracy is None else pair.accuracy.p_value}
