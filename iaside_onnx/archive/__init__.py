"""The HDF5 archive: schema, shards, writing and reading."""

from iaside_onnx.archive.checking import check_file
from iaside_onnx.archive.digest import digest_of
from iaside_onnx.archive.reading import Archive, Metadata, open_archive
from iaside_onnx.archive.schema import SCHEMA_VERSION, encode
from iaside_onnx.archive.shards import Failure, Shard, Workspace, describe_differences
from iaside_onnx.archive.tables import TABLES, convert
from iaside_onnx.archive.writing import collect, shard_tables, write_archive

__all__ = [
    "SCHEMA_VERSION",
    "TABLES",
    "Archive",
    "Failure",
    "Metadata",
    "Shard",
    "Workspace",
    "check_file",
    "collect",
    "convert",
    "describe_differences",
    "digest_of",
    "encode",
    "open_archive",
    "shard_tables",
    "write_archive",
]
