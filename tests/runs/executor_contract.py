"""What every `Executor` promises, as a class of tests that the tests of each executor inherit.

Shards are compared with those of an evaluator of this process, which is handed one image at a time.
"""

from __future__ import annotations

import pickle
import random
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iaside_onnx.archive import Recipe, Shard
from iaside_onnx.errors import ImageError, RunConflictError
from iaside_onnx.progress import LogProgress
from iaside_onnx.runs import Executor, Job
from iaside_onnx.runs.options import parse_options
from iaside_onnx.runs.planning import Plan, find_inputs, make_plan
from tests.runs.running import CNN, MODELS, PICTURES

__all__ = ["ExecutorContract", "assert_same_shards", "jobs_of", "planned"]

GAMES: dict[str, dict[str, Any]] = {
    "exact, zero": {"method": "exact", "baseline": "zero"},
    "exact, mean": {"method": "exact", "baseline": "mean", "pixel_range": "clip"},
    "exact, noise": {"method": "exact", "baseline": "noise", "seed": 5},
    "exact, complement": {"method": "exact", "baseline": "complement"},
    "sampled, zero": {"method": "sampled", "baseline": "zero", "seed": 7},
    "sampled, complement": {
        "method": "sampled", "baseline": "complement", "pixel_range": "minmax",
        "labels": "predicted",
    },
}  # fmt: skip


def planned(images: Any = PICTURES, model: Path = CNN, **options: Any) -> Plan:
    """A run of few images on one thread."""
    words = {"bands": 3, "limit": 8, "threads": 1, **options}
    chosen = parse_options(words)
    return make_plan(find_inputs(model, images, chosen), chosen, LogProgress())


def jobs_of(plan: Plan, size: int = 3) -> list[Job]:
    """All images in the first pass, and in the second if there is one, a few in each job."""
    jobs: list[Job] = []
    labels = plan.selection.labels
    for number, now in enumerate(plan.schedule.design.passes[:2]):
        for start in range(0, plan.order.size, size):
            draws = np.arange(start, min(start + size, plan.order.size))
            rows = plan.order[draws]
            own = np.full(rows.size, -1) if labels is None else labels[rows]
            partners = None if plan.partners is None else plan.partners[rows]
            positions = plan.selection.positions[rows]
            jobs.append(
                Job(
                    number=len(jobs), positions=positions, draws=draws, labels=own,
                    start=now.start, stop=now.stop, whole=number == 0, partners=partners,
                )
            )  # fmt: skip
    return jobs


def assert_same_shards(found: Shard, wanted: Shard) -> None:
    """Same names, types, values and failures."""
    assert sorted(found.values) == sorted(wanted.values)
    for name, theirs in wanted.values.items():
        ours = found[name]
        assert type(ours) is type(theirs), name
        if isinstance(theirs, np.ndarray):
            assert ours.dtype == theirs.dtype, name
            np.testing.assert_array_equal(ours, theirs, err_msg=name)
        else:
            assert ours == theirs, name
    assert found.failures == wanted.failures
    assert found.batch_size == wanted.batch_size


class ExecutorContract(ABC):
    """Tests of one executor."""

    @abstractmethod
    def make(self) -> Executor:
        """An executor that has nothing open."""

    @pytest.fixture
    def executor(self) -> Iterator[Executor]:
        made = self.make()
        yield made
        made.close()

    def collect(
        self, executor: Executor, recipe: Recipe, jobs: Sequence[Job]
    ) -> tuple[dict[int, Shard], int]:
        """Shards by the number of their job, and how many images were said to be finished."""
        found: dict[int, Shard] = {}
        told: list[int] = []
        for job, shard in executor.map(recipe, jobs, told.append):
            assert job.number not in found
            found[job.number] = shard
        return found, sum(told)

    def check(self, executor: Executor, plan: Plan, jobs: Sequence[Job]) -> dict[int, Shard]:
        """Compare with the evaluator of the plan, job by job."""
        found, told = self.collect(executor, plan.recipe, jobs)
        assert sorted(found) == sorted(job.number for job in jobs)
        assert told == sum(job.positions.size for job in jobs)
        for job in jobs:
            ((_, wanted),) = plan.evaluator.evaluate([job])
            assert_same_shards(found[job.number], wanted)
        return found

    @pytest.mark.parametrize("game", GAMES)
    def test_shards_are_the_same_bit_for_bit(self, executor: Executor, game: str) -> None:
        """A result that depends on where it was evaluated, or in which order."""
        plan = planned(**GAMES[game])
        jobs = jobs_of(plan)
        random.Random(1).shuffle(jobs)  # noqa: S311 - no secret
        shards = self.check(executor, plan, jobs)
        assert all(np.isfinite(shard["worth"]).all() for shard in shards.values())

    def test_arrays_in_memory(self, executor: Executor) -> None:
        """Images that lie in no file cannot be evaluated elsewhere, or under other labels."""
        with np.load(PICTURES) as bundled:
            images, labels = bundled["images"][:9], bundled["labels"][:9]
        plan = planned(images, labels=labels)
        self.check(executor, plan, jobs_of(plan))

    def test_a_specification_of_the_model_is_taken(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        """A model that leaves its axes open is loaded with another layout, or not at all."""
        import onnx

        model = onnx.load(CNN)
        for axis in range(1, 4):
            model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = f"side{axis}"
        onnx.save(model, tmp_path / "open.onnx")
        spec = {"input_size": [1, 28, 28], "mean": [0.5], "std": [0.5]}
        plan = planned(model=tmp_path / "open.onnx", preprocess=spec)
        self.check(executor, plan, jobs_of(plan)[:1])

    def test_images_that_fail_are_reported_alike(self, executor: Executor, tmp_path: Path) -> None:
        """One bad file ends the run, or takes another image along."""
        rng = np.random.default_rng(0)
        for i in range(8):
            pixels = rng.integers(0, 256, (28, 28), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        (tmp_path / "4.png").write_bytes(b"no image")
        plan = planned(tmp_path, labels="predicted", baseline="complement", on_bad_image="skip")
        shards = self.check(executor, plan, jobs_of(plan))
        failed = {f.position: f for shard in shards.values() for f in shard.failures}
        assert plan.partners is not None
        assert set(failed) == {4, *np.flatnonzero(plan.partners == 4).tolist()}
        assert failed[4].image_id == "4.png"

    def test_one_executor_takes_jobs_more_than_once(self, executor: Executor) -> None:
        """A run in passes: nothing is left of the pass before, and no job is wanted twice."""
        plan = planned()
        jobs = jobs_of(plan)
        assert self.collect(executor, plan.recipe, []) == ({}, 0)
        self.check(executor, plan, jobs[:2])
        self.check(executor, plan, jobs[2:])
        assert self.collect(executor, plan.recipe, []) == ({}, 0)
        assert sum(executor.profile.seconds.values()) > 0

    def test_a_model_that_has_changed_is_refused(self, executor: Executor, tmp_path: Path) -> None:
        """Worths of a model that is not the one whose hash is archived."""
        model = shutil.copy(CNN, tmp_path / "model.onnx")
        plan = planned(model=Path(model))
        shutil.copy(MODELS / "fashion-cnn-pgd.onnx", model)
        with pytest.raises(RunConflictError, match=r"model\.onnx: changed during the run.*kept"):
            self.collect(executor, plan.recipe, jobs_of(plan))

    def test_errors_keep_their_type_and_their_words(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        """A traceback from another process in place of one sentence."""
        images = Path(shutil.copy(PICTURES, tmp_path / "images.npz"))
        plan = planned(images)
        images.unlink()
        with pytest.raises(
            ImageError, match=r"images\.npz does not exist; check the path"
        ) as found:
            self.collect(executor, plan.recipe, jobs_of(plan))
        assert "\n" not in str(found.value)

    def test_a_recipe_that_does_not_say_where_is_refused(self, executor: Executor) -> None:
        """A search for the model in some other place."""
        plan = planned()
        with pytest.raises(ValueError, match="does not say where"):
            self.collect(executor, replace(plan.recipe, access=None), jobs_of(plan))

    def test_a_recipe_travels(self) -> None:
        """What is live in it would stay behind, or be shared."""
        recipe = planned().recipe
        again = pickle.loads(pickle.dumps(recipe))  # noqa: S301 - made right here
        assert again == recipe
        assert again.access == recipe.access

    def test_it_can_be_closed_in_the_middle(self, executor: Executor) -> None:
        """A run that is stopped waits for what nobody wants any more."""
        plan = planned()
        results = executor.map(plan.recipe, jobs_of(plan, size=1), lambda _: None)
        next(results)
        executor.close()
        executor.close()
        results.close()  # type: ignore[attr-defined]

    def test_an_executor_that_never_worked_can_be_closed(self, executor: Executor) -> None:
        """A run whose shards are all there already."""
        executor.close()
