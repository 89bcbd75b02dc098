"""Images, archives of images, arrays and models that somebody made to do harm."""

from __future__ import annotations

import io
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import onnx
from onnx import helper, numpy_helper, parser
from PIL import Image

from tests.support.bad_case import Case, graph, keep_outside, pixels, save_model

__all__ = ["CASES"]

_SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"
_IN_TAR = "--labels predicted --input-size 1,8,8"


def _png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG whose header says what it likes, with as much data as is given."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def _good_png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels()[0]).save(buffer, "PNG")
    return buffer.getvalue()


def _beside(name: str, data: bytes) -> Callable[[Path], object]:
    """A folder with a good image and this one."""

    def make(folder: Path) -> None:
        (folder / "photos").mkdir()
        (folder / "photos" / "a.png").write_bytes(_good_png())
        (folder / "photos" / name).write_bytes(data)

    return make


def _link(target: str, *, to_folder: bool = False) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        (folder / "photos" / "cat").mkdir(parents=True)
        (folder / "photos" / "cat" / "a.png").write_bytes(_good_png())
        outside = folder.parent / "outside"
        outside.mkdir()
        (outside / "secret.png").write_bytes(_good_png())
        place = folder / "photos" / ("dog" if to_folder else "cat/b.png")
        place.symlink_to(target)

    return make


def _tar(*members: tuple[str, bytes, bytes]) -> Callable[[Path], object]:
    """A tar file of members: name, type, and the contents or where a link leads."""

    def make(folder: Path) -> None:
        with tarfile.open(folder / "images.tar", "w") as archive:
            for name, kind, data in members:
                info = tarfile.TarInfo(name)
                info.type = kind
                if kind == tarfile.REGTYPE:
                    info.size = len(data)
                else:
                    info.linkname = data.decode()
                archive.addfile(info, io.BytesIO(data))

    return make


def _npy(shape: object, dtype: str = "|u1") -> bytes:
    header = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
    size = struct.pack("<I", len(header) + 1)
    return b"\x93NUMPY\x02\x00" + size + header + b"\n" + bytes(64)


def _npz_bomb(folder: Path) -> None:
    """3 GB of zeros, by the header; that many would be in some megabytes."""
    with zipfile.ZipFile(folder / "images.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", _npy((3_000_000, 32, 32)) + bytes(10**6))


def _npz_labels(folder: Path) -> None:
    np.savez_compressed(folder / "images.npz", images=pixels(), labels=np.zeros(10**7, np.int64))


def _h5_claims(folder: Path) -> None:
    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset("images", (10**12, 8, 8), "u1", chunks=(1, 8, 8))


def _write(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


def _outside_in(where: str) -> Callable[[Path], object]:
    """Weights in /etc/passwd, named where a reader of the graph may not look."""
    model = graph()
    (weights,) = keep_outside("/etc/passwd").graph.initializer
    if where == "a constant":
        model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=weights))
    elif where == "a branch":
        branch = helper.make_graph(
            [helper.make_node("Identity", ["weights"], ["y"])], "branch", [],
            [helper.make_tensor_value_info("y", 1, None)], [weights],
        )  # fmt: skip
        model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
        model.graph.node.append(
            helper.make_node("If", ["yes"], ["unused"], then_branch=branch, else_branch=branch)
        )
    elif where == "a branch without operators":
        branch = helper.make_graph(
            [], "branch", [], [helper.make_tensor_value_info("weights", 1, None)]
        )
        sparse = branch.sparse_initializer.add()
        sparse.values.CopyFrom(weights)
        model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
        model.graph.node.append(
            helper.make_node("If", ["yes"], ["unused"], then_branch=branch, else_branch=branch)
        )
    elif where == "a function":
        node = helper.make_node("Constant", [], ["y"], value=weights)
        function = helper.make_function(
            "own", "F", [], ["y"], [node], [helper.make_opsetid("", 17)]
        )
        model.functions.append(function)
        model.opset_import.append(helper.make_opsetid("own", 1))
        model.graph.node.append(helper.make_node("F", [], ["unused"], domain="own"))
    else:
        sparse = onnx.SparseTensorProto()
        sparse.values.CopyFrom(weights)
        model.graph.node.append(helper.make_node("Constant", [], ["unused"], sparse_value=sparse))
    return lambda folder: save_model(folder, model)


def _two_places(folder: Path) -> None:
    """The first of them is good; ONNX Runtime takes the last."""
    (folder / "weights.bin").write_bytes(bytes(64 * 5 * 4))
    model = keep_outside("weights.bin")
    model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    save_model(folder, model)


def _circle(folder: Path) -> None:
    (folder / "weights.bin").symlink_to("more.bin")
    (folder / "more.bin").symlink_to("weights.bin")
    save_model(folder, keep_outside("weights.bin"))


def _long_name(folder: Path) -> None:
    save_model(folder, keep_outside("w" * 5000))


def _too_long(folder: Path) -> None:
    """A file with nothing in it that says that it is three gigabytes long."""
    os.truncate(folder / "model.onnx", 3 << 30)


def _compiled(folder: Path) -> None:
    model = graph()
    node = helper.make_node(
        "EPContext", ["image"], ["unused"], domain="com.microsoft", ep_cache_context="../engine.so"
    )
    model.graph.node.append(node)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    save_model(folder, model)


def _foreign_inside(folder: Path) -> None:
    """An operator of a library that nobody has, within a function of the model's own."""
    model = graph("flat = Flatten(image) w = own.F(weights) scores = MatMul(flat, w)",
                  domains=', "own": 1')  # fmt: skip
    text = '<domain: "own", opset_import: ["": 17, "evil": 1]> F (x) => (y) {y = evil.Run(x)}'
    model.functions.append(parser.parse_function(text))
    save_model(folder, model)


_NO_IMAGE = "is not a JPEG, PNG, WebP"
_TOO_MANY = "more pixels than the limit"
_ZEROS = zlib.compress(bytes(10**7))

_IMAGES = [
    Case(f"image: {name}", says, images="photos", make=make, options=_IN_TAR)
    for name, says, make in (
        ("SVG under another name", _NO_IMAGE, _beside("b.png", _SVG)),
        ("65,535 pixels to each side", _TOO_MANY, _beside("b.png", _png(65535, 65535))),
        ("a bomb of zeros", _TOO_MANY, _beside("b.png", _png(30000, 30000, _ZEROS))),
        ("header without pixels", "damaged or cut short", _beside("b.png", _png(300, 300))),
        ("a program", _NO_IMAGE, _beside("b.jpg", b"\x7fELF" + bytes(100))),
        ("a link out of the folder", "is a link to", _link("../../../outside/secret.png")),
        ("a link to an absolute path", "is a link to", _link("/etc/hostname")),
        ("a folder that is a link out", "is a link to", _link("../../outside", to_folder=True)),
    )
]

_TARS = [
    Case(f"tar: {name}", says, images="images.tar", make=make, options=_IN_TAR)
    for name, says, make in (
        ("a link", "there are no images", _tar(("a.png", tarfile.SYMTYPE, b"/etc/passwd"))),
        ("a hard link", "there are no images", _tar(("a.png", tarfile.LNKTYPE, b"../../b.png"))),
        ("a device", "there are no images", _tar(("a.png", tarfile.CHRTYPE, b""))),
        ("SVG", "is not a JPEG", _tar(("a.png", tarfile.REGTYPE, _SVG))),
    )
]

_ARRAYS = [
    Case("npz bomb", "is compressed and would take 3072000000 bytes", make=_npz_bomb),
    Case("npz of few images and many labels", "one label per image", make=_npz_labels),
    Case(
        "h5 that claims 10^12 images",
        "is incomplete",
        images="x.h5",
        make=_h5_claims,
        options=_IN_TAR,
    ),
    *(
        Case(f"npy: {name}", "x.npy", images="x.npy", make=_write("x.npy", data), options=_IN_TAR)
        for name, data in (
            ("10^18 images", _npy((10**18, 8, 8))),
            ("sizes that overflow", _npy((2**62, 2**62, 2**62))),
            ("negative size", _npy((-1, 8, 8))),
            ("a header of 300 MB", b"\x93NUMPY\x02\x00" + struct.pack("<I", 3 * 10**8) + bytes(9)),
            ("a header of 4 GB", b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1)),
            (
                "code in the header",
                b"\x93NUMPY\x01\x00\x20\x00__import__('os').system('touch x')  \n",
            ),
            ("nested header", b"\x93NUMPY\x02\x00" + struct.pack("<I", 9000) + b"(" * 9000),
        )
    ),
]

_PLACES = (
    "a constant", "a branch", "a branch without operators", "a function", "a sparse constant",
)  # fmt: skip

_MODELS = [
    *(
        Case(f"weights outside in {where}", "outside of its own folder", make=_outside_in(where))
        for where in _PLACES
    ),
    Case("weights in two places", "names 2 places for the values of one tensor", make=_two_places),
    Case("weights behind links in a circle", "which is not a file name", make=_circle),
    Case("weights with a name that no file has", "not a file name", make=_long_name),
    Case("model of 3 GB", "is 3221225472 bytes long", make=_too_long),
    Case("compiled code", "compiled code for one device (EPContext)", make=_compiled),
    Case("foreign operator in a function", "operators of the domain 'evil'", make=_foreign_inside),
]

CASES = [*_IMAGES, *_TARS, *_ARRAYS, *_MODELS]
