"""Inputs that were arrays, or have moved; finished runs; and words of earlier versions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import click
import numpy as np
import pytest
from PIL import Image

import iaside_onnx
from iaside_onnx.errors import ArchiveError, IasideError, ImageError, OptionError
from tests.runs.running import CNN, PICTURES, bundled_pictures, run_here, run_script

SAMPLED: dict[str, Any] = {"bands": 4, "method": "sampled", "budget": 60}


def arrays(n: int = 12) -> tuple[Any, Any]:
    """Bundled images and labels, in memory."""
    with np.load(PICTURES) as bundled:
        return bundled["images"][:n], bundled["labels"][:n].astype(np.int64)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of arrays in memory."""
    images, labels = arrays()
    path = tmp_path_factory.mktemp("arrays") / "a.h5"
    iaside_onnx.decompose(CNN, images, path, labels=labels, **SAMPLED)
    return path


class TestArrays:
    """Images and labels that lie in no file."""

    def test_verify_takes_them(self, path: Path) -> None:
        """The truth of an array is ambiguous, as NumPy says."""
        images, labels = arrays()
        found = iaside_onnx.verify(path, images=images, labels=labels, sample=20)
        assert found.problems == []
        assert "worths evaluated again" in found.checked[-1]

    def test_verify_compares_them(self, path: Path) -> None:
        """Other images, or other labels, that are taken for those of the archive."""
        images, labels = arrays()
        changed = images.copy()
        changed[3] = 255 - changed[3]
        (problem,) = iaside_onnx.verify(path, images=changed, labels=labels).problems
        assert "has changed since: its SHA-256 is another" in problem
        (problem,) = iaside_onnx.verify(path, images=images, labels=(labels + 1) % 10).problems
        assert "the names or labels of the images differ" in problem

    def test_they_must_be_given_again(self, path: Path) -> None:
        """A file called `array` is searched for, or the model's own answers are taken."""
        images, labels = arrays()
        with pytest.raises(ArchiveError, match=r"labels were an array.*give them again as labels"):
            iaside_onnx.verify(path, images=images)
        with pytest.raises(ArchiveError, match=r"its images were an array.*again as images"):
            iaside_onnx.verify(path, labels=labels)
        with pytest.raises(ArchiveError, match="labels were an array"):
            iaside_onnx.extend(path, budget=90, images=images)

    def test_a_file_of_that_name_is_not_them(
        self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A folder called `array` in the working directory is read in their place."""
        (tmp_path / "array").mkdir()
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ArchiveError, match="its images were an array"):
            iaside_onnx.verify(path, labels=arrays()[1])

    def test_extend_takes_them(self, path: Path, tmp_path: Path) -> None:
        """A sample that can never be continued."""
        images, labels = arrays()
        copy = Path(shutil.copy(path, tmp_path / "a.h5"))
        extended = iaside_onnx.extend(copy, budget=110, images=images, labels=labels)
        assert extended["pairs"].sum() > iaside_onnx.open_archive(path)["pairs"].sum()
        # And once more.
        iaside_onnx.extend(copy, budget=200, images=images, labels=labels)
        found = iaside_onnx.verify(copy, images=images, labels=labels, sample=8)
        assert found.problems == []

    def test_an_array_of_images_with_labels_in_a_file(self, tmp_path: Path) -> None:
        """One of the two is an array, the other is where it was."""
        images, labels = arrays()
        file = tmp_path / "labels.csv"
        rows = [f"{i:02d},{label}" for i, label in enumerate(labels)]
        file.write_text("\n".join(["id,label", *rows]) + "\n")
        path = tmp_path / "a.h5"
        iaside_onnx.decompose(CNN, images, path, labels=str(file), **SAMPLED)
        assert iaside_onnx.verify(path, images=images).problems == []


class TestMoved:
    """A model, images, labels, classes and a specification that are somewhere else by now."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """A sampled archive, and its inputs in other places than it names."""
        before = tmp_path / "before"
        before.mkdir()
        images, labels = arrays()
        for i, (pixels, label) in enumerate(zip(images, labels, strict=True)):
            (before / "images" / f"c{label}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(before / "images" / f"c{label}" / f"{i}.png")
        classes = {f"c{label}": int(label) for label in range(10)}
        (before / "classes.json").write_text(json.dumps(classes))
        spec = json.loads(CNN.with_suffix(".preprocess.json").read_text())
        (before / "spec.json").write_text(json.dumps(spec))
        ids = {f"c{label}/{i}.png": int(label) for i, label in enumerate(labels)}
        (before / "labels.json").write_text(json.dumps(ids))
        shutil.copy(CNN, before / "model.onnx")
        iaside_onnx.decompose(
            before / "model.onnx", before / "images", tmp_path / "a.h5",
            labels=str(before / "labels.json"), classes=before / "classes.json",
            preprocess=before / "spec.json", **SAMPLED,
        )  # fmt: skip
        before.rename(tmp_path / "after")
        return tmp_path

    WHERE: ClassVar[dict[str, str]] = {
        "model": "model.onnx", "images": "images", "labels": "labels.json",
        "classes": "classes.json", "preprocess": "spec.json",
    }  # fmt: skip

    def words(self, folder: Path) -> dict[str, Any]:
        return {name: folder / "after" / file for name, file in self.WHERE.items()}

    def test_python_is_told(self, folder: Path) -> None:
        """An archive that outlives the place of its inputs cannot be checked or extended."""
        path, words = folder / "a.h5", self.words(folder)
        assert iaside_onnx.verify(path, sample=20, **words).problems == []
        iaside_onnx.extend(path, budget=110, **words)
        # It names the new places.
        assert iaside_onnx.verify(path, sample=20).problems == []

    @pytest.mark.parametrize("name", WHERE)
    def test_each_of_them_is_missed(self, name: str, folder: Path) -> None:
        """A guess in place of a sentence that says what is not there."""
        words = self.words(folder)
        words.pop(name)
        for look in (
            lambda: iaside_onnx.verify(folder / "a.h5", **words),
            lambda: iaside_onnx.extend(folder / "a.h5", budget=110, **words),
        ):
            with pytest.raises(IasideError) as found:
                look()
            assert str(folder / "before") in str(found.value)
            assert "\n" not in str(found.value)

    def test_the_command_line_is_told(self, folder: Path) -> None:
        """Options that Python alone has."""
        words = [w for name, place in self.words(folder).items() for w in (f"--{name}", place)]
        found = run_here("verify", "a.h5", "--sample", "12", *words, folder=folder)
        assert found.code == 0, found.err + found.out
        found = run_here("extend", "a.h5", "--budget", "110", *words, folder=folder)
        assert found.code == 0, found.err

    def test_another_specification_is_found(self, folder: Path) -> None:
        """Images that are prepared otherwise than they were."""
        words = self.words(folder)
        spec = json.loads(words["preprocess"].read_text())
        words["preprocess"].write_text(json.dumps({**spec, "mean": [0.9]}))
        assert any(
            "prepared otherwise" in problem
            for problem in iaside_onnx.verify(folder / "a.h5", **words).problems
        )
        with pytest.raises(ArchiveError, match="cannot be extended by what differs in: preprocess"):
            iaside_onnx.extend(folder / "a.h5", budget=110, **words)


_UNLOADABLE = """
import sys
sys.modules["onnxruntime"] = None
from PIL import Image
def refuse(*_, **__):
    raise SystemExit("an image was decoded")
Image.open = refuse
sys.argv = ["iaside", *sys.argv[1:]]
from iaside_onnx.cli import main
main()
"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and images."""
    folder = tmp_path_factory.mktemp("finished")
    bundled_pictures(folder / "images.npz", 0, 8)
    for name in ("fashion-cnn.onnx", "fashion-cnn.preprocess.json"):
        shutil.copy(CNN.parent / name, folder / name)
    return folder


class TestFinished:
    """The same command again, when all is done."""

    WORDS = ("decompose", "fashion-cnn.onnx", "--images", "images.npz", "-o", "a.h5")
    GAMES: ClassVar[dict[str, tuple[str, ...]]] = {
        "exact": ("--bands", "3"),
        "sampled": ("--bands", "4", "--method", "sampled", "--budget", "60"),
        "mean": ("--bands", "3", "--baseline", "mean", "--batch-size", "auto"),
    }

    @pytest.mark.parametrize("game", GAMES)
    def test_it_is_recognised_before_anything_is_loaded(self, game: str, inputs: Path) -> None:
        """Minutes for a large model, only to hear that nothing is left to do."""
        words = (*self.WORDS, *self.GAMES[game], "--threads", "1")
        assert run_here(*words, "--overwrite", folder=inputs).code == 0
        before = (inputs / "a.h5").read_bytes()
        found = run_script(_UNLOADABLE, inputs, *words)
        assert found.code == 0, found.err
        assert "a.h5 is already finished" in found.err
        found = run_script(_UNLOADABLE, inputs, *words, "--workers", "3")
        assert found.code == 0, found.err
        assert (inputs / "a.h5").read_bytes() == before

    @pytest.mark.parametrize(
        "more", [("--seed", "1"), ("--bands", "4"), ("--baseline", "mean"), ("--limit", "5"),
                 ("--labels", "predicted"), ("--threads", "1")]
    )  # fmt: skip
    def test_another_run_is_not_taken_for_it(self, more: tuple[str, ...], inputs: Path) -> None:
        """The results of other options."""
        words = (*self.WORDS, *self.GAMES["exact"])
        assert run_here(*words, "--overwrite", folder=inputs).code == 0
        found = run_here(*words, *more, folder=inputs)
        assert found.code == 1
        assert "is the archive of another run" in found.err

    def test_other_inputs_are_not_taken_for_those(self, inputs: Path, tmp_path: Path) -> None:
        """The results of another model, other images, or another preparation."""
        here = Path(shutil.copytree(inputs, tmp_path / "here"))
        words = (*self.WORDS, *self.GAMES["exact"])
        assert run_here(*words, "--overwrite", folder=here).code == 0
        model, images = here / "fashion-cnn.onnx", here / "images.npz"
        spec = here / "fashion-cnn.preprocess.json"
        told = json.loads(spec.read_text())

        def other_images() -> None:
            with np.load(images) as known:
                pixels, labels = known["images"].copy(), known["labels"]
            pixels[2, 0, 0] ^= 255
            np.savez(images, images=pixels, labels=labels)

        for path, spoil in (
            (model, lambda: shutil.copy(CNN.parent / "fashion-cnn-pgd.onnx", model)),
            (images, other_images),
            (spec, lambda: spec.write_text(json.dumps({**told, "mean": [0.4]}))),
        ):
            kept = path.read_bytes()
            spoil()
            found = run_here(*words, folder=here)
            assert found.code == 1, path
            assert "is the archive of " in found.err
            path.write_bytes(kept)
        assert run_here(*words, folder=here).code == 0


class TestWords:
    """Words of earlier versions, and those of this one."""

    def run(self, *more: str, folder: Path) -> Any:
        out = () if any(word.startswith(("-o", "--out=")) for word in more) else ("-o", "a.h5")
        words = ("decompose", CNN, "--images", PICTURES, "--bands", "3", "--limit", "4")
        return run_here(*words, *out, *more, folder=folder)

    @pytest.mark.parametrize("word", ["-oa.h5", "--out=a.h5"])
    def test_the_archive_to_write(self, word: str, tmp_path: Path) -> None:
        """`-o` without a long form, as `--output` was the model's."""
        found = self.run(word, folder=tmp_path)
        assert found.code == 0, found.err
        assert (tmp_path / "a.h5").exists()
        assert "still works" not in found.err

    def test_the_output_of_the_model(self, tmp_path: Path) -> None:
        """A name of an output that is taken for that of a file."""
        known = iaside_onnx.inspect_model(CNN).signature.output_name
        found = self.run("--output-name", known, folder=tmp_path)
        assert found.code == 0, found.err
        assert "still works" not in found.err
        found = self.run("--output", known, folder=tmp_path)
        assert found.code == 0, found.err
        found = self.run("--output", known, "--overwrite", folder=tmp_path)
        assert found.code == 0, found.err
        assert found.err.count("--output is now --output-name; the old word still works") == 1
        found = self.run("--output", "no-such-output", "--overwrite", folder=tmp_path)
        assert found.code == 1
        assert "no-such-output" in found.err
        found = self.run("--output", known, "--output-name", known, folder=tmp_path)
        assert found.code == 2

    @pytest.mark.slow
    def test_what_intervals_are_about(self, tmp_path: Path) -> None:
        """Intervals about another thing than was asked for."""
        recipes = []
        for words in (
            ("--inference", "sample"), ("--about", "images"), ("--inference", "population"),
            ("--about", "population"), (),
        ):  # fmt: skip
            found = self.run(*words, "--overwrite", folder=tmp_path)
            assert found.code == 0, found.err
            assert ("--about is now --inference" in found.err) == ("--about" in words)
            recipes.append(iaside_onnx.open_archive(tmp_path / "a.h5").recipe)
        assert recipes[0] == recipes[1] != recipes[2] == recipes[3] == recipes[4]
        assert (recipes[0].inference, recipes[0].population) == ("sample", 1000)
        assert (recipes[4].inference, recipes[4].population) == ("population", None)
        assert self.run("--about", "sample", folder=tmp_path).code == 2

    def test_python_words(self, tmp_path: Path) -> None:
        """Programs of users that stop working, or never learn of the new word."""
        words: dict[str, Any] = {"bands": 3, "limit": 4}
        images: dict[str, Any] = {"about": "images"}
        neither: dict[str, Any] = {"about": "neither"}
        with pytest.warns(DeprecationWarning, match="`about` is now `inference`") as warned:
            old = iaside_onnx.decompose(CNN, PICTURES, tmp_path / "a.h5", **images, **words)
        # The line of the caller, not one of ours.
        assert warned[0].filename == __file__
        new = iaside_onnx.decompose(CNN, PICTURES, tmp_path / "b.h5", inference="sample", **words)
        assert old.recipe == new.recipe
        with (
            pytest.warns(DeprecationWarning, match="`about`"),
            pytest.raises(OptionError, match="inference"),
        ):
            iaside_onnx.decompose(CNN, PICTURES, tmp_path / "c.h5", **neither, **words)
        with pytest.raises(TypeError, match="no_such"):
            iaside_onnx.decompose(CNN, PICTURES, tmp_path / "c.h5", no_such=1)  # type: ignore[call-arg]

    def test_both_words_are_too_many(self, tmp_path: Path) -> None:
        """One of the two is dropped in silence."""
        both: dict[str, Any] = {"about": "images", "inference": "population"}
        with pytest.raises(OptionError, match="`about` is the old word for `inference`"):
            iaside_onnx.decompose(CNN, PICTURES, tmp_path / "c.h5", **both)

    def test_click_knows_them(self) -> None:
        """Help that names the old words."""
        from iaside_onnx.cli.decompose import decompose

        shown = decompose.get_help(click.Context(decompose))
        assert "--inference" in shown
        assert "--about" not in shown
        assert "-o, --out" in shown


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """Labels of other images, cut to length in silence."""
    images, labels = arrays()
    with pytest.raises(ImageError, match="label"):
        iaside_onnx.decompose(CNN, images, tmp_path / "a.h5", labels=labels[:-1], bands=3)
