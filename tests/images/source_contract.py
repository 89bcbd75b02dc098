"""What every `ImageSource` promises, as a class of tests that the tests of each source inherit.

The pictures are made with NumPy and stored with the libraries that users store them with. What a
source must return is computed from these, without any code of the package.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import shutil
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from iaside_onnx.errors import ImageError, PreprocessError
from iaside_onnx.images import ImageSource, PreparedImage, Preprocess, SourceKind, open_images
from tests.support.command import PATIENCE

__all__ = ["Pictures", "SourceContract", "png", "sha256"]

N = 20
HEIGHT, WIDTH = 6, 8
# The size of the pictures, so that nothing is resized.
SPEC = Preprocess((3, HEIGHT, WIDTH))
BROKEN = 7
MISSING = 13

Pictures: TypeAlias = NDArray[np.uint8]
"""RGB pixels, ``(N, HEIGHT, WIDTH, 3)``."""


def png(picture: NDArray[np.uint8]) -> bytes:
    """The bytes of a PNG file, which keeps every pixel as it is."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def sha256(data: bytes) -> str:
    """Hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Stored:
    """A stored source and the pictures in it.

    Attributes:
        reference: what is given to `open_images`.
        pictures: in the order of the source.
    """

    reference: Any
    pictures: Pictures


class SourceContract(ABC):
    """Tests of one kind of source; a subclass stores the pictures and says what must be found.

    Attributes:
        kind: kind of the source.
        ids: ids of the pictures.
        labels: labels of the pictures; None if the source has none.
        classes: class index of each name; None if no names are known.
        size: height and width if the source knows it.
        says: what `describe` must contain, beside the number of images.
    """

    kind: SourceKind
    ids: Sequence[str]
    labels: Sequence[int] | None = tuple(i % 3 for i in range(N))
    classes: dict[str, int] | None = None
    size: tuple[int, int] | None = None
    says: str = ""

    @abstractmethod
    def store(self, folder: Path, pictures: Pictures, broken: int | None = None) -> Any:
        """Store the pictures.

        Args:
            folder: an empty folder.
            pictures: what to store.
            broken: index of an image that is stored in such a way that it cannot be read.

        Returns:
            what is given to `open_images`.
        """

    def sha256(self, picture: NDArray[np.uint8]) -> str:
        """Hash that one image must have."""
        return sha256(png(picture))

    def name(self, index: int) -> str:
        """What an error must call one image."""
        return self.ids[index]

    @pytest.fixture
    def pictures(self) -> Pictures:
        shape = (N, HEIGHT, WIDTH, 3)
        pictures: Pictures = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
        return pictures

    @pytest.fixture
    def stored(self, tmp_path: Path, pictures: Pictures) -> Stored:
        return Stored(self.store(tmp_path, pictures), pictures)

    @pytest.fixture
    def source(self, stored: Stored) -> ImageSource:
        return open_images(stored.reference)

    def check(self, image: PreparedImage, picture: NDArray[np.uint8]) -> None:
        """Compare pixels and hash with the picture that was stored."""
        expected = picture.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        assert image.pixels.dtype == np.float32
        np.testing.assert_array_equal(image.pixels, expected)
        assert image.sha256 == self.sha256(picture)

    def test_ids_are_unique_and_in_order(self, source: ImageSource) -> None:
        """Archives and files of labels would name other images."""
        assert source.kind == self.kind
        assert len(source) == N
        assert list(source.ids) == list(self.ids)
        assert len(set(source.ids)) == N

    def test_labels_and_classes(self, source: ImageSource) -> None:
        """Images would be evaluated for the classes of others."""
        assert source.classes == self.classes
        if self.labels is None:
            assert source.labels is None
        else:
            assert source.labels is not None
            assert source.labels.dtype == np.int64
            assert source.labels.tolist() == list(self.labels)

    def test_description(self, source: ImageSource) -> None:
        """The output of a command would not say what it has read."""
        text = source.describe()
        assert f"{N} images" in text
        assert self.says in text
        assert "\n" not in text
        assert source.size == self.size

    def test_every_image_is_read_in_any_order(self, source: ImageSource, stored: Stored) -> None:
        """A source that reads in blocks would return the image of another index."""
        shuffled = np.random.default_rng(0).permutation(N).tolist()
        for index in [*range(N), *reversed(range(N)), *shuffled]:
            self.check(source.read(index, SPEC), stored.pictures[index])
            assert source.sha256(index) == self.sha256(stored.pictures[index])

    @pytest.mark.parametrize("size", [(3, 4, 5), (1, 9, 9), (3, 3, 20)])
    def test_pixels_have_the_size_of_the_specification(
        self, source: ImageSource, size: tuple[int, int, int]
    ) -> None:
        """The model would refuse the batch, or see values that no image has."""
        for index in (0, N - 1):
            pixels = source.read(index, Preprocess(size, interpolation="lanczos")).pixels
            assert pixels.shape == size
            assert pixels.dtype == np.float32
            assert 0 <= pixels.min() < pixels.max() <= 1

    def test_threads_read_the_same(self, source: ImageSource, stored: Stored) -> None:
        """Threads that share a position in a file would mix their images up."""
        threads = 4
        together = threading.Barrier(threads)

        def read(seed: int) -> list[tuple[int, PreparedImage, str]]:
            order = np.random.default_rng(seed).permutation(N).tolist()
            together.wait(timeout=PATIENCE)
            return [(i, source.read(i, SPEC), source.sha256(i)) for i in order]

        with ThreadPoolExecutor(threads) as pool:
            for images in pool.map(read, range(threads)):
                for index, image, digest in images:
                    self.check(image, stored.pictures[index])
                    assert digest == image.sha256

    def test_a_reference_opens_the_same_source_again(
        self, source: ImageSource, stored: Stored
    ) -> None:
        """A worker process or a resumed run would see other images."""
        reference = pickle.loads(pickle.dumps(stored.reference))  # noqa: S301 - made right here
        again = open_images(reference)
        assert list(again.ids) == list(source.ids)
        assert (again.labels is None) == (source.labels is None)
        if again.labels is not None and source.labels is not None:
            assert again.labels.tolist() == source.labels.tolist()
        assert [again.sha256(i) for i in range(N)] == [source.sha256(i) for i in range(N)]

    @pytest.mark.parametrize("index", [-1, N, N + 100])
    def test_an_index_out_of_range_is_named(self, source: ImageSource, index: int) -> None:
        """A negative index would silently count from the end."""
        for ask in (lambda: source.read(index, SPEC), lambda: source.sha256(index)):
            with pytest.raises(ImageError, match=f"no image {index}"):
                ask()

    def test_a_broken_image_is_named_and_the_others_are_read(
        self, tmp_path: Path, pictures: Pictures
    ) -> None:
        """One bad file of a million would end the run, or be impossible to find."""
        (tmp_path / "broken").mkdir()
        source = open_images(self.store(tmp_path / "broken", pictures, broken=BROKEN))
        with pytest.raises(ImageError) as caught:
            source.read(BROKEN, SPEC)
        assert self.name(BROKEN) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not str(caught.value).endswith(".")
        for index in (BROKEN - 1, BROKEN + 1, N - 1):
            assert source.read(index, SPEC).pixels.shape == (3, HEIGHT, WIDTH)

    def test_a_source_that_is_deleted_while_it_is_open(
        self, source: ImageSource, stored: Stored
    ) -> None:
        """A file that is held open may still be read; anything else must name the image."""
        if not isinstance(stored.reference, Path):
            pytest.skip("the source is in memory")
        if stored.reference.is_dir():
            shutil.rmtree(stored.reference)
        else:
            stored.reference.unlink()
        try:
            self.check(source.read(MISSING, SPEC), stored.pictures[MISSING])
        except ImageError as error:
            assert self.name(MISSING) in str(error)  # noqa: PT017 - either outcome is right

    def test_a_specification_without_size_is_no_image_error(self, source: ImageSource) -> None:
        """An ImageError would be counted as a bad image, once for every image."""
        with pytest.raises(PreprocessError, match="input_size is not set"):
            source.read(0, Preprocess())
