"""Archives compared: the right images, the right numbers, and only what can be compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy import stats

from iaside_onnx import Archive, Gate, check_gates, compare, decompose, open_archive, series
from iaside_onnx.archive import digest_of
from iaside_onnx.errors import ArchiveError, OptionError
from iaside_onnx.report.words import bands_text, comparison_words, short_names
from tests.support.sampling import CNN, MODELS, PICTURES

PGD = MODELS / "fashion-cnn-pgd.onnx"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archives of two models over images that overlap, in another order in the second."""
    place = tmp_path_factory.mktemp("compared")
    with np.load(PICTURES) as bundled:
        images, labels = bundled["images"][:60], bundled["labels"][:60]
    # Image 3 is there twice.
    first = [3, *range(50)]
    second = [*range(59, 9, -1), 3]
    for name, model, rows in (("a", CNN, first), ("b", PGD, second)):
        np.savez(place / f"{name}.npz", images=images[rows], labels=labels[rows])
        made(place, f"{name}.h5", model, name)
    return place


def made(place: Path, target: str, model: Path, source: str, **options: Any) -> Archive:
    words = {"bands": 4, "threads": 1, **options}
    return decompose(model, place / f"{source}.npz", place / target, **words)


def common(folder: Path) -> tuple[Archive, Archive, list[int], list[int]]:
    """Both archives, and the rows of the 41 images that both have, found by hand."""
    a, b = (open_archive(folder / f"{name}.h5") for name in "ab")
    # The first of two equal images is the one that is matched.
    return a, b, [0, *range(11, 51)], [50, *range(49, 9, -1)]


def test_pairs_are_the_same_images(folder: Path) -> None:
    """Rows in the order of the files would compare a shirt with a shoe."""
    a, b, here, there = common(folder)
    pair = compare(a, b).pairs[0]
    assert pair.images == 41
    assert len(pair.only_reference) == 10
    assert len(pair.only_archive) == 10
    wanted = b["phi_image"][there].mean(axis=0) - a["phi_image"][here].mean(axis=0)
    np.testing.assert_allclose(pair.game.phi, wanted, rtol=1e-12)


def test_numbers_are_those_of_plain_statistics(folder: Path) -> None:
    """Each figure of a pair, from the variables of both archives and SciPy."""
    a, b, here, there = common(folder)
    pair = compare(a, b).pairs[0]
    right = a["predicted"][here] == a["label"][here]
    other = b["predicted"][there] == b["label"][there]
    found = pair.accuracy
    assert found is not None
    assert (found.reference, found.other) == (right.mean(), other.mean())
    assert (found.gained, found.lost) == ((other & ~right).sum(), (right & ~other).sum())
    n = found.gained + found.lost
    assert found.p_value == pytest.approx(stats.binomtest(found.gained, n).pvalue)
    same = a["predicted"][here] == b["predicted"][there]
    assert pair.agreement.value == same.mean()
    change = b["log_probability_whole"][there].astype(float) - a["log_probability_whole"][here]
    plain: Any = stats.ttest_1samp(change, 0).confidence_interval()
    assert pair.log_probability.value == pytest.approx(change.mean())
    np.testing.assert_allclose((pair.log_probability.low, pair.log_probability.high), plain)
    assert pair.log_probability_error.value == pytest.approx(np.abs(change).mean())
    phi = b["phi_image"][there][:, 2] - a["phi_image"][here][:, 2]
    plain = stats.ttest_1samp(phi, 0).confidence_interval(1 - 0.05 / 4)
    np.testing.assert_allclose((pair.game.phi_low[2], pair.game.phi_high[2]), plain)


def test_an_archive_does_not_differ_from_itself(folder: Path) -> None:
    """A gate on the same model would fail by chance."""
    pair = compare(folder / "a.h5", folder / "a.h5").pairs[0]
    assert pair.accuracy is not None
    assert pair.accuracy.gained == pair.accuracy.lost == 0
    assert pair.agreement.value == 1
    assert not pair.game.phi_high.any()
    assert not pair.differing


def test_a_sample_beside_all_coalitions(folder: Path, tmp_path: Path) -> None:
    """Both ways of evaluation, and what differs is said."""
    options: dict[str, Any] = {"method": "sampled", "budget": 51 * 12}
    sampled = decompose(CNN, folder / "a.npz", tmp_path / "s.h5", bands=4, threads=1, **options)
    pair = compare(folder / "a.h5", sampled).pairs[0]
    assert pair.differing == "method"
    assert ((pair.game.phi_low < 0) & (pair.game.phi_high > 0)).all()
    other = decompose(PGD, folder / "a.npz", tmp_path / "p.h5", bands=4, threads=1, **options)
    both = compare(sampled, other).pairs[0]
    wanted = other["phi_image"].mean(axis=0) - sampled["phi_image"].mean(axis=0)
    np.testing.assert_allclose(both.game.phi, wanted)


def test_intervals_are_about_these_images_alone_where_both_are(
    folder: Path, tmp_path: Path
) -> None:
    """All coalitions of all images of a finite set leave nothing open."""
    words: dict[str, Any] = {"bands": 4, "threads": 1, "inference": "sample"}
    a = decompose(CNN, folder / "a.npz", tmp_path / "a.h5", **words)
    b = decompose(PGD, folder / "a.npz", tmp_path / "b.h5", **words)
    pair = compare(a, b).pairs[0]
    np.testing.assert_allclose(pair.game.phi_high, pair.game.phi, atol=1e-9)
    c = decompose(PGD, folder / "a.npz", tmp_path / "c.h5", bands=4, threads=1)
    assert (compare(a, c).pairs[0].game.phi_high > pair.game.phi_high).all()


@pytest.mark.parametrize(
    ("options", "phrase"),
    [
        ({"bands": 5}, "bands (4 there, 5 now)"),
        ({"partition": "l2"}, 'partition ("linf" there, "l2" now)'),
        ({"baseline": "mean"}, 'baseline ("zero" there, "mean" now)'),
        ({"pixel_range": "clip"}, 'pixel_range ("none" there, "clip" now)'),
        ({"labels": "predicted"}, 'where labels come from ("given" there, "predicted" now)'),
    ],
)
def test_another_game_is_refused(
    folder: Path, tmp_path: Path, options: dict[str, Any], phrase: str
) -> None:
    """Numbers of different games differ whatever the models do."""
    words = {"bands": 4, "limit": 12, **options}
    other = decompose(PGD, folder / "a.npz", tmp_path / "o.h5", **words)
    with pytest.raises(OptionError) as caught:
        compare(folder / "a.h5", other)
    assert phrase in str(caught.value)


def test_other_labels_or_images_are_refused(folder: Path, tmp_path: Path) -> None:
    """Worths of different classes of one image cannot be subtracted."""
    with np.load(folder / "a.npz") as source:
        images, labels = source["images"], source["labels"]
    np.savez(tmp_path / "l.npz", images=images, labels=(labels + (np.arange(51) == 7)) % 10)
    np.savez(tmp_path / "i.npz", images=images ^ 1, labels=labels)
    moved = decompose(CNN, tmp_path / "l.npz", tmp_path / "l.h5", bands=4)
    with pytest.raises(OptionError, match=r"differs in labels .* 1 of 51 images, the first is"):
        compare(folder / "a.h5", moved)
    foreign = decompose(CNN, tmp_path / "i.npz", tmp_path / "i.h5", bands=4)
    with pytest.raises(OptionError, match="no image in common"):
        compare(folder / "a.h5", foreign)
    with pytest.raises(OptionError, match="at least two"):
        compare(folder / "a.h5")


def test_own_answers_that_differ_are_refused(folder: Path, tmp_path: Path) -> None:
    """Worths of two classes cannot be subtracted, and nobody has a file of labels to give."""
    words: dict[str, Any] = {"bands": 4, "labels": "predicted"}
    own = [
        decompose(model, folder / "a.npz", tmp_path / f"{model.stem}.h5", **words)
        for model in (CNN, PGD)
    ]
    with pytest.raises(OptionError, match="with the answers of one of them as `labels=FILE`"):
        compare(*own)


def test_numbers_that_no_model_gives_are_refused(folder: Path, tmp_path: Path) -> None:
    """Signed anew, an edited archive would pass all gates."""
    for name, value in (("phi_image", np.nan), ("phi_image", 1e300), ("sis", 1e308)):
        path = tmp_path / "e.h5"
        path.write_bytes((folder / "b.h5").read_bytes())
        with h5py.File(path, "r+") as file:
            file[name][(0, 0) if file[name].shape else ()] = value
            file.attrs["digest"] = digest_of(file)
        with pytest.raises(ArchiveError, match="numbers that no model gives"):
            compare(folder / "a.h5", path)


def test_an_edited_archive_is_refused(folder: Path, tmp_path: Path) -> None:
    """A version would be shipped on numbers that somebody wrote."""
    path = tmp_path / "e.h5"
    path.write_bytes((folder / "b.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        file["phi_image"][0, 0] = 1.0
    with pytest.raises(ArchiveError, match="cannot be compared"):
        compare(folder / "a.h5", path)


def test_two_baselines_are_two_groups(folder: Path, tmp_path: Path) -> None:
    """The ranking of one baseline would be taken for that of the models."""
    means = [
        decompose(model, folder / "a.npz", tmp_path / f"{name}.h5", bands=4, baseline="mean")
        for name, model in (("pm", PGD), ("cm", CNN))
    ]
    zeros = [
        decompose(model, folder / "a.npz", tmp_path / f"{name}.h5", bands=4)
        for name, model in (("cz", CNN), ("pz", PGD))
    ]
    found = compare(*zeros, *means)
    assert [group.baseline for group in found.groups] == ["zero", "mean"]
    assert found.groups[1].reference.path.stem == "cm"
    assert [pair.comparisons for pair in found.pairs] == [2, 2]
    for group in found.groups:
        scores = [float(archive["sis"]) for archive in group.ranking]
        assert scores == sorted(scores, reverse=True)
    text = "\n".join(comparison_words(found))
    assert "baseline zero" in text
    assert "baseline mean" in text
    with pytest.raises(OptionError, match=r"the model of .*cz\.h5 has fewer archives .* mean than"):
        compare(*zeros, means[0])
    # A gate about no pair at all would hold.
    with pytest.raises(OptionError, match=r"no two .* one baseline \(zero, mean\)"):
        compare(zeros[0], means[1])


def test_what_is_certain_is_told_from_what_is_not(folder: Path) -> None:
    """A difference that may be chance, told as a fact, is what people act on."""
    sure = " ".join(comparison_words(compare(folder / "a.h5", folder / "a.h5")))
    assert "get the same images right" in sure
    assert "SIS is the same" in sure
    assert "-" not in sure.split("ranked")[0].replace(folder.name, "")
    words = comparison_words(compare(folder / "a.h5", folder / "b.h5"))
    pair = compare(folder / "a.h5", folder / "b.h5").pairs[0]
    assert pair.accuracy is not None
    assert ("not certain" in words[0]) == (pair.accuracy.difference.sign == 0)
    for band in range(4):
        certain = pair.game.psi_low[band] > 0 or pair.game.psi_high[band] < 0
        listed = words[1].split(";")[0]
        assert (str(band) in listed.replace("0 to 3", "0123")) == certain
    assert "each over its own images" in words[-2]


def test_names_are_short_and_distinct(folder: Path, tmp_path: Path) -> None:
    """Two archives of one name would be one in the table."""
    (tmp_path / "x").mkdir()
    copy = tmp_path / "x" / "a.h5"
    copy.write_bytes((folder / "a.h5").read_bytes())
    opened = [open_archive(path) for path in (folder / "a.h5", copy, folder / "b.h5")]
    names = list(short_names(opened).values())
    assert names == [f"{folder.name}/a", "x/a", "b"]


def test_bands_in_words() -> None:
    """A wrong range would name a band that did nothing."""
    assert bands_text([3]) == "band 3"
    assert bands_text([0, 1]) == "bands 0 and 1"
    assert bands_text([0, 3, 4, 5, 7]) == "bands 0, 3 to 5 and 7"


def test_differences_as_a_table(folder: Path) -> None:
    """A cell in another row or column than its band, pair and bound."""
    pytest.importorskip("pandas")
    found = compare(folder / "a.h5", folder / "b.h5", folder / "a.h5")
    table = found.to_dataframe()
    assert len(table) == 8
    row = table.query("band == 2").iloc[0]
    game = found.pairs[0].game
    wanted = (game.phi[2], game.phi_low[2], game.phi_high[2], game.psi[2], game.psi_high[2])
    assert tuple(row[["phi", "phi_low", "phi_high", "psi", "psi_high"]]) == wanted
    assert (row["archive"], row["images"]) == (str(folder / "b.h5"), 41)
    pairs = found.to_dataframe("pairs")
    accuracy = found.pairs[0].accuracy
    assert accuracy is not None
    assert pairs["accuracy_low"][0] == accuracy.difference.low
    assert pairs["sis_high"][0] == game.sis_high
    assert pairs["p_value"][1] == 1
    with pytest.raises(OptionError, match="did you mean 'pairs'"):
        found.to_dataframe("pair")  # type: ignore[arg-type]


def test_differences_as_a_chart(folder: Path) -> None:
    """Bars of one archive's values would be taken for differences."""
    figure = pytest.importorskip("matplotlib.figure")
    found = compare(folder / "a.h5", folder / "b.h5")
    axes = figure.Figure().subplots()
    assert found.plot("psi", axes) is axes
    heights = [bar.get_height() for bar in axes.containers[0]]
    np.testing.assert_allclose(heights, found.pairs[0].game.psi)
    legend = axes.get_legend()
    assert legend is not None
    assert legend.get_texts()[0].get_text() == "b minus a"
    with pytest.raises(OptionError, match="unknown kind"):
        found.plot("sis", axes)  # type: ignore[arg-type]


def test_differences_in_a_notebook(folder: Path, tmp_path: Path) -> None:
    """Names of files are anybody's: one would run as a script in the notebook."""
    hostile = tmp_path / "<script>x.h5"
    hostile.write_bytes((folder / "b.h5").read_bytes())
    found = compare(folder / "a.h5", hostile)
    html = found._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert f"{found.pairs[0].game.sis:+.3f}" in html


def test_results_can_be_compared_and_kept_in_sets(folder: Path) -> None:
    """Arrays have no truth: `pair in comparison.pairs` would be an error of NumPy's."""
    found, again = (compare(folder / "a.h5", folder / "b.h5") for _ in range(2))
    assert found != again
    assert again.pairs[0] not in found.pairs
    assert len({found, again, found}) == 2


@pytest.mark.parametrize("wrong", [["b.h5"], None, 3], ids=str)
def test_what_is_no_archive_is_one_sentence(folder: Path, wrong: Any) -> None:
    """`series` takes a list and `compare` does not: a bare AttributeError says nothing of that."""
    with pytest.raises(OptionError, match="give archives one by one"):
        compare(folder / "a.h5", wrong)


def test_gates_are_asked_about_a_series(folder: Path) -> None:
    """The command line does it, so Python does."""
    found = check_gates(series([folder / "a.h5", folder / "a.h5"]), Gate("margin", "phi", 1))
    assert [one.answer for one in found] == ["holds"]
