"""Models as they lie in real folders: hub caches, optimised files, the runtime's own format."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from scipy import special

from iaside_onnx import decompose, inspect_model
from iaside_onnx.errors import ModelError
from iaside_onnx.runtime import load_classifier, read_graph
from tests.support.onnx_ends import run
from tests.support.onnx_models import Net, make_model, value

NET = Net(size=(3, 8, 8))
PIXELS = np.random.default_rng(3).random((4, 3, 8, 8), dtype=np.float32)
SPEC = {
    "do_resize": True, "size": {"height": 8, "width": 8}, "do_normalize": True,
    "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4],
}  # fmt: skip
NAME = "model.onnx_data"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def store(folder: Path, model: str, data: str) -> tuple[Path, Path]:
    """The network and its weights under other names; the model calls them ``model.onnx_data``."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(NET.model(), folder / "m", save_as_external_data=True, location=NAME,
              size_threshold=0)  # fmt: skip
    (folder / "m").rename(folder / model)
    (folder / NAME).rename(folder / data)
    return folder / model, folder / data


def expected(tmp_path: Path) -> Any:
    return run(NET.save(tmp_path / "whole.onnx"), PIXELS)


def link(path: Path, target: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


def hub(tmp_path: Path) -> tuple[Path, Path]:
    """A cache of the hub: the folder of a revision, whose files are links to blobs."""
    repository = tmp_path / "hub" / "models--a--b"
    _, data = store(repository / "blobs", "aaaa", "bbbb")
    revision = repository / "snapshots" / "0123"
    link(revision / "onnx" / "model.onnx", "../../../blobs/aaaa")
    link(revision / "onnx" / NAME, "../../../blobs/bbbb")
    return revision, data


def test_a_hub_cache_is_read_through_its_links(tmp_path: Path) -> None:
    """Every model of the hub that is larger than 2 GB, and many others, would be refused."""
    revision, data = hub(tmp_path)
    path = revision / "onnx" / "model.onnx"
    facts = read_graph(path)
    assert facts.external == {NAME: sha256(data)}
    np.testing.assert_array_equal(load_classifier(facts).run(PIXELS), expected(tmp_path))


def test_a_copied_model_with_linked_weights_in_a_hub_cache(tmp_path: Path) -> None:
    """The model itself is no link here, so its real folder does not lead to the blobs."""
    revision, _ = hub(tmp_path)
    path = revision / "onnx" / "model.onnx"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    facts = read_graph(path)
    np.testing.assert_array_equal(load_classifier(facts).run(PIXELS), expected(tmp_path))


def test_weights_beside_the_real_file_of_a_link(tmp_path: Path) -> None:
    """A link to a model would be read, and its weights not be found."""
    _, data = store(tmp_path / "real", "net.onnx", NAME)
    path = link(tmp_path / "elsewhere" / "net.onnx", str(tmp_path / "real" / "net.onnx"))
    facts = read_graph(path)
    assert facts.external == {NAME: sha256(data)}
    np.testing.assert_array_equal(load_classifier(facts).run(PIXELS), expected(tmp_path))


def test_changed_weights_behind_links_are_noticed(tmp_path: Path) -> None:
    """The archive would name weights that were not run."""
    revision, data = hub(tmp_path)
    facts = read_graph(revision / "onnx" / "model.onnx")
    data.write_bytes(bytes(data.stat().st_size))
    with pytest.raises(ModelError, match="changed while it was read"):
        load_classifier(facts)


@pytest.mark.parametrize("folder", ["plain", "hub/models--a--b/snapshots/1/onnx", "snapshots/1"])
def test_links_to_other_places_stay_refused(folder: str, tmp_path: Path) -> None:
    """A stranger's model would read any file, such as a key, as its weights."""
    model, data = store(tmp_path / folder, "model.onnx", "w")
    secret = tmp_path / "blobs" / "secret"
    secret.parent.mkdir()
    data.rename(secret)
    link(model.with_name(NAME), str(secret))
    with pytest.raises(ModelError, match=r"a link to .*secret, outside of its own folder"):
        read_graph(model)


def test_names_that_go_up_stay_refused_in_a_hub_cache(tmp_path: Path) -> None:
    """`..` would lead out of any folder, whatever is allowed to links."""
    revision, data = hub(tmp_path)
    path = revision / "onnx" / "model.onnx"
    model = onnx.load(str(path), load_external_data=False)
    for name in ("../../../blobs/bbbb", "x/../model.onnx_data", str(data)):
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = name
        path.unlink()
        path.write_bytes(model.SerializeToString())
        with pytest.raises(ModelError, match="outside of its own folder"):
            read_graph(path)


@pytest.mark.parametrize("name", ["preprocessor_config.json", "processor_config.json"])
@pytest.mark.parametrize("where", ["onnx", "."])
def test_the_processor_of_the_hub_is_found(name: str, where: str, tmp_path: Path) -> None:
    """Images would only be scaled, without a mean, and the numbers be those of another model."""
    revision, _ = hub(tmp_path)
    inner = {"image_processor": SPEC, "processor_class": "X"} if name[:4] == "proc" else SPEC
    content = SPEC if name.startswith("prep") else inner
    (revision / where / name).write_text(json.dumps(content))
    found = inspect_model(revision / "onnx" / "model.onnx")
    assert found.preprocess is not None
    assert found.preprocess.mean == (0.5, 0.4, 0.3)
    assert name in found.preprocess_note


def test_files_above_other_folders_are_not_looked_at(tmp_path: Path) -> None:
    """A file of another model, one folder up, would prepare the images of this one."""
    path = NET.save(tmp_path / "net.onnx")
    inner = tmp_path / "mine"
    inner.mkdir()
    path = path.rename(inner / "net.onnx")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(SPEC))
    (inner / "processor_config.json").write_text(json.dumps({"tokenizer": {}}))
    found = inspect_model(path)
    assert found.preprocess is not None
    assert found.preprocess.mean == (0.0,)


def optimised(tmp_path: Path, suffix: str) -> Path:
    """What ONNX Runtime writes when it is asked to keep the optimised model."""
    rng = np.random.default_rng(9)
    # The runtime arranges channels in blocks where there are enough of them.
    weights: dict[str, Any] = {
        "a": rng.standard_normal((32, 3, 3, 3)).astype(np.float32) / 5,
        "b": rng.standard_normal((32, 32, 3, 3)).astype(np.float32) / 17,
        "c": rng.standard_normal((32, 5)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "a"], ["d"]),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("Conv", ["e", "b"], ["f"]),
        helper.make_node("GlobalAveragePool", ["f"], ["g"]),
        helper.make_node("Flatten", ["g"], ["h"]),
        helper.make_node("MatMul", ["h", "c"], ["out"]),
    ]
    image, out = value("image", ["n", 3, 16, 16]), value("out", ["n", 5])
    model = make_model(nodes, [image], [out], weights)
    entry = model.metadata_props.add()
    entry.key, entry.value = "iaside.preprocess", json.dumps({"mean": [0.5], "std": [0.25]})
    source = tmp_path / "source.onnx"
    source.write_bytes(model.SerializeToString())
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.optimized_model_filepath = str(tmp_path / f"made{suffix}")
    onnxruntime.InferenceSession(str(source), settings, providers=["CPUExecutionProvider"])
    return tmp_path / f"made{suffix}"


@pytest.mark.parametrize("suffix", [".onnx", ".ort"])
def test_what_the_runtime_has_written_runs(suffix: str, tmp_path: Path) -> None:
    """What is deployed would be refused: its operators, or its format, are the runtime's own."""
    path = optimised(tmp_path, suffix)
    assert (b"com.microsoft.nchwc" in path.read_bytes()) or suffix == ".ort"
    pixels = np.random.default_rng(4).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    labels = np.arange(5)
    made = decompose(path, pixels, tmp_path / "a.h5", bands=3, labels=labels)
    inputs = (np.moveaxis(pixels, 3, 1).astype(np.float32) / 255 - 0.5) / 0.25
    raw = run(tmp_path / "source.onnx", inputs.astype(np.float32)).astype(np.float64)
    scores = special.log_softmax(raw, axis=1)[labels, labels]
    np.testing.assert_allclose(made["log_probability_whole"], scores, rtol=1e-5, atol=1e-5)
    assert made.metadata.model_sha256 == sha256(path)
    assert made.recipe.preprocess["std"] == [0.25]
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(ModelError):
        inspect_model(path)
