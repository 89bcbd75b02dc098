"""Sources of images and labels, and preprocessing: from image files to a model's input."""

from iaside_onnx.images.bundled import BUNDLED_CLASSES, BUNDLED_IMAGES, bundled_folder
from iaside_onnx.images.classes import ClassesLike, find_classes, read_classes
from iaside_onnx.images.decode import MAX_PIXELS, decode_image
from iaside_onnx.images.foreign import KERAS_MODES
from iaside_onnx.images.labels import match_labels, sample_images
from iaside_onnx.images.loader import load_ahead
from iaside_onnx.images.opening import ImagesLike, open_images
from iaside_onnx.images.prepare import prepare, prepare_array
from iaside_onnx.images.preprocess import (
    ColorOrder,
    CropMode,
    CropOffset,
    Interpolation,
    Preprocess,
)
from iaside_onnx.images.said import Notices
from iaside_onnx.images.source import ImageSource, PreparedImage, SourceKind
from iaside_onnx.images.specfile import find_preprocess, parse_preprocess, read_preprocess

__all__ = [
    "BUNDLED_CLASSES",
    "BUNDLED_IMAGES",
    "KERAS_MODES",
    "MAX_PIXELS",
    "ClassesLike",
    "ColorOrder",
    "CropMode",
    "CropOffset",
    "ImageSource",
    "ImagesLike",
    "Interpolation",
    "Notices",
    "PreparedImage",
    "Preprocess",
    "SourceKind",
    "bundled_folder",
    "decode_image",
    "find_classes",
    "find_preprocess",
    "load_ahead",
    "match_labels",
    "open_images",
    "parse_preprocess",
    "prepare",
    "prepare_array",
    "read_classes",
    "read_preprocess",
    "sample_images",
]
