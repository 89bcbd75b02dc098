"""HDF5 archives: schemas by kind, metadata, shards, reading, writing, checking."""

from iaside_onnx.archive.checking import check_file, refuse_changed
from iaside_onnx.archive.datasets import as_text, encode
from iaside_onnx.archive.decomposition import (
    DECOMPOSITION,
    WORTH_ROUNDING,
    Archive,
    as_archive,
    class_folders,
    open_archive,
)
from iaside_onnx.archive.digest import digest_of
from iaside_onnx.archive.metadata import (
    DecompositionMetadata,
    Metadata,
    attributes_of,
)
from iaside_onnx.archive.reading import (
    ArchiveFile,
    open_any,
    open_as,
    register_kind,
    row_ranges,
    stored_attributes,
)
from iaside_onnx.archive.recipe import (
    INFERENCE_OF_ABOUT,
    Access,
    BatchRule,
    Recipe,
    describe_differences,
    end_evaluations,
    words_for,
)
from iaside_onnx.archive.schema import SCHEMA_VERSION, Schema, Variable
from iaside_onnx.archive.shards import Failure, Shard, Workspace
from iaside_onnx.archive.views import view
from iaside_onnx.archive.writing import Rows, check_output, failed_variables, write_archive

__all__ = [
    "DECOMPOSITION",
    "INFERENCE_OF_ABOUT",
    "SCHEMA_VERSION",
    "WORTH_ROUNDING",
    "Access",
    "Archive",
    "ArchiveFile",
    "BatchRule",
    "DecompositionMetadata",
    "Failure",
    "Metadata",
    "Recipe",
    "Rows",
    "Schema",
    "Shard",
    "Variable",
    "Workspace",
    "as_archive",
    "as_text",
    "attributes_of",
    "check_file",
    "check_output",
    "class_folders",
    "describe_differences",
    "digest_of",
    "encode",
    "end_evaluations",
    "failed_variables",
    "open_any",
    "open_archive",
    "open_as",
    "refuse_changed",
    "register_kind",
    "row_ranges",
    "stored_attributes",
    "view",
    "words_for",
    "write_archive",
]
