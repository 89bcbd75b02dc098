"""What every `Executor` promises, as a class of tests that the tests of each executor inherit.

Shards must be those that an `Evaluator` of this process gives, bit for bit.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest

from iaside_onnx import Options
from iaside_onnx.archive import Recipe, Shard
from iaside_onnx.errors import ModelError
from iaside_onnx.runs import Evaluator, Executor, Job, LogProgress
from iaside_onnx.runs.planning import find_inputs, make_plan
from tests.support.bad_case import pixels
from tests.support.onnx_models import Net

__all__ = ["ExecutorContract", "Work", "assert_same_shards", "make_work"]

IMAGES, BAD, BANDS, EACH = 23, 9, 4, 5


@dataclass(frozen=True)
class Work:
    """A recipe, its jobs, and the shards that they must give.

    Attributes:
        recipe: what is evaluated.
        jobs: all images, five in each job; one image is bad.
        shards: of the jobs, in order.
    """

    recipe: Recipe
    jobs: list[Job]
    shards: list[Shard]


def make_work(folder: Path) -> Work:
    """Random images and a small model, in files."""
    model = Net().save(folder / "net.onnx")
    images = pixels(IMAGES, 8, 8) / np.float32(255)
    images[BAD] = np.nan
    np.savez(folder / "images.npz", images=images, labels=np.arange(IMAGES) % 5)
    options = Options(bands=BANDS, method="exact", threads=1, batch_size=8, on_bad_image="skip")
    inputs = find_inputs(model, folder / "images.npz", options)
    recipe = make_plan(inputs, options, LogProgress()).recipe
    rows = [np.arange(start, min(start + EACH, IMAGES)) for start in range(0, IMAGES, EACH)]
    jobs = [
        Job(number, positions=part, draws=part, labels=part % 5, start=0, stop=1 << BANDS)
        for number, part in enumerate(rows)
    ]
    return Work(recipe, jobs, [shard for _, shard in Evaluator.open(recipe).evaluate(jobs)])


def assert_same_shards(found: Sequence[tuple[Job, Shard]], work: Work) -> None:
    """Each job is there once, with its shard, whatever the order."""
    assert sorted(job.number for job, _ in found) == [job.number for job in work.jobs]
    for job, shard in found:
        wanted = work.shards[job.number]
        assert shard.values.keys() == wanted.values.keys()
        for name, values in wanted.values.items():
            np.testing.assert_array_equal(shard[name], values, err_msg=name)
        assert shard.failures == wanted.failures


class ExecutorContract:
    """The tests of an executor."""

    def make(self) -> Executor:
        """A new executor."""
        raise NotImplementedError

    @pytest.fixture
    def executor(self) -> Iterator[Executor]:
        made = self.make()
        yield made
        made.close()
        assert active_children() == []

    def test_each_job_comes_back_with_its_shard(self, executor: Executor, work: Work) -> None:
        """Results depend on where they were made, or an image is lost between two processes."""
        told: list[int] = []
        assert_same_shards(list(executor.map(work.recipe, work.jobs, told.append)), work)
        assert sum(told) == IMAGES
        assert sum(executor.profile.seconds.values()) > 0

    def test_a_bad_image_is_in_its_shard(self, executor: Executor, work: Work) -> None:
        """One bad file ends the run, or is left out in silence."""
        ((_, shard),) = executor.map(work.recipe, [work.jobs[BAD // EACH]], lambda _: None)
        assert [failure.position for failure in shard.failures] == [BAD]
        assert "NaN" in shard.failures[0].reason
        assert shard.images == EACH - 1

    def test_it_goes_on_with_more_jobs(self, executor: Executor, work: Work) -> None:
        """A run of many passes opens everything anew in each, or cannot go on."""
        found = [
            pair
            for jobs in ([], work.jobs[:2], work.jobs[2:], [])
            for pair in executor.map(work.recipe, jobs, lambda _: None)
        ]
        assert_same_shards(found, work)

    def test_an_error_keeps_its_kind_and_its_message(self, executor: Executor, work: Work) -> None:
        """A user is told that something failed somewhere."""
        access = work.recipe.access
        assert access is not None
        gone = replace(work.recipe, access=replace(access, model=Path("gone.onnx")))
        with pytest.raises(ModelError, match=r"gone\.onnx"):
            list(executor.map(gone, work.jobs, lambda _: None))

    def test_it_can_be_closed_at_any_time(self, work: Work) -> None:
        """Ctrl-C leaves processes behind."""
        self.make().close()
        executor = self.make()
        next(iter(executor.map(work.recipe, work.jobs, lambda _: None)))
        executor.close()
        assert active_children() == []

    def test_recipes_and_jobs_cross_processes(self, work: Work) -> None:
        """An executor for other machines would have nothing to send."""
        recipe, jobs = pickle.loads(pickle.dumps((work.recipe, work.jobs)))  # noqa: S301  # ours
        assert (recipe, recipe.access) == (work.recipe, work.recipe.access)
        assert [job.number for job in jobs] == [job.number for job in work.jobs]
