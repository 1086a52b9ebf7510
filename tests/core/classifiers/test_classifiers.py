"""Classifiers answer as scikit-learn does, are kept without pickle, and keep patients together."""

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bccli.core.classifiers import fit_classifier, load_classifier, save_classifier
from bccli.core.classifiers.fitting import CLASSIFIERS, fit_estimator, folds_of
from bccli.core.classifiers.models import MODELS, standardise
from bccli.core.errors import DataError

# Trees of scikit-learn and ours are walked alike, and summed in the same order; other sums are not.
TOLERANCE = {"svm": 1e-9, "logistic": 1e-9, "boosting": 1e-12, "forest": 0.0}

# Loads classifiers and features where neither pickle nor scikit-learn can be had, and prints probabilities.
READER = """
import sys
import numpy as np
import pickle, _pickle
for module in (pickle, _pickle):
    for name in ("load", "loads", "Unpickler", "_Unpickler"):
        if hasattr(module, name):
            delattr(module, name)
for name in ("pickle", "_pickle", "sklearn", "scipy", "joblib", "tensorflow"):
    sys.modules[name] = None
from pathlib import Path
from bccli.core.classifiers.models import load_classifier
for path in sys.argv[1:]:
    features = np.load(path + ".npy")
    np.save(path + ".answers.npy", load_classifier(Path(path)).probabilities(features))
"""


def blobs(classes: int, count: int = 120, width: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping clouds, one for each class, of features of unlike sizes; one never varies."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = generator.normal(size=(classes, width))
    features = (centres[labels] + generator.normal(size=(count, width))) * np.geomspace(0.01, 100, width)
    features[:, 3] = 7
    return features.astype(np.float32), labels


def test_each_kind_can_be_fitted_and_answers() -> None:
    assert set(CLASSIFIERS) == set(MODELS)


@pytest.fixture(scope="module", params=["balanced", pytest.param("none", marks=pytest.mark.slow)])
def answers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, int], tuple[np.ndarray, ...]]:
    """scikit-learn's probabilities, and those of another process, of examples near and far."""
    folder, expected = tmp_path_factory.mktemp("kept"), {}
    for kind in CLASSIFIERS:
        for classes in (2, 4):
            features, labels = blobs(classes)
            keep = (labels > 0) | (np.arange(len(labels)) < 60)  # classes of unlike sizes
            fitted = fit_estimator(
                kind, features[keep], labels[keep], classes, seed=3, class_weights=request.param
            )
            path = folder / f"{kind}-{classes}.npz"
            save_classifier(path, fitted.classifier)
            others = np.concatenate([blobs(classes, seed=1)[0], features, features * 50])
            np.save(f"{path}.npy", others)
            rows = others.astype(np.float64)
            if CLASSIFIERS[kind].standardised:
                rows = standardise(fitted.classifier.arrays, others)
            if kind == "forest":
                fitted.estimator.n_jobs = 1  # several threads add trees up in any order
            expected[kind, classes] = (path, fitted.estimator.predict_proba(rows))
    paths = [str(path) for path, _ in expected.values()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", READER, *paths], check=True, env=environment)
    return {key: (np.load(f"{path}.answers.npy"), theirs) for key, (path, theirs) in expected.items()}


@pytest.mark.parametrize("kind", CLASSIFIERS)
@pytest.mark.parametrize("classes", [2, 4])
def test_another_process_without_pickle_gives_scikit_learns_probabilities(
    answers: dict, kind: str, classes: int
) -> None:
    ours, theirs = answers[kind, classes]
    assert ours.shape == (360, classes)
    assert ours.dtype == np.float64
    # Of two classes, the first is 1 - the second for scikit-learn, so that what is left of it is rounding.
    rounding = np.array([np.finfo(np.float64).eps if classes == 2 else 0, *[0] * (classes - 1)])
    assert (np.abs(ours - theirs) <= TOLERANCE[kind] * theirs + rounding).all()


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_one_example_at_a_time_gives_the_same(kind: str) -> None:
    features, labels = blobs(3)
    classifier = fit_estimator(kind, features, labels, 3, seed=1).classifier
    one_by_one = np.concatenate([classifier.probabilities(features[k : k + 1]) for k in range(len(features))])
    np.testing.assert_allclose(classifier.probabilities(features), one_by_one, rtol=1e-12)
    assert classifier.probabilities(features[:0]).shape == (0, 3)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_the_same_seed_gives_the_same_classifier(kind: str) -> None:
    features, labels = blobs(2)
    first, again = (fit_estimator(kind, features, labels, 2, seed=5).classifier for _ in range(2))
    assert first.settings == again.settings
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, again.arrays[name])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 99), st.integers(1, 12), st.integers(2, 4))
def test_patients_are_in_one_fold_where_that_leaves_every_class(
    seed: int, patients: int, classes: int
) -> None:
    generator = np.random.default_rng(seed)
    labels = np.arange(60) % classes
    groups = [f"p{number}" for number in generator.integers(patients, size=60)]
    folds = folds_of(labels, groups, seed)
    seen = np.concatenate([look for _, look in folds])
    assert sorted(seen) == list(range(60))
    for fit, _ in folds:
        assert set(labels[fit]) == set(range(classes))
    if patients > 5 and len(set(groups)) > 5:
        for fit, look in folds:
            assert not {groups[k] for k in fit} & {groups[k] for k in look}


def test_unknown_patients_are_each_their_own() -> None:
    labels = np.arange(20) % 2
    assert len(folds_of(labels, [""] * 20, 0)) == 5


def test_a_class_of_one_example_cannot_be_calibrated() -> None:
    features, labels = blobs(2)
    keep = (labels == 0) | (np.arange(len(labels)) == 1)
    with pytest.raises(DataError, match="one example only"):
        fit_estimator("svm", features[keep], labels[keep], 2)


def test_a_class_without_examples_is_named() -> None:
    features, labels = blobs(2)
    with pytest.raises(DataError, match="3 classes"):
        fit_estimator("forest", features, labels, 3)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A boosting in a file."""
    features, labels = blobs(2)
    path = tmp_path / "classifier.npz"
    save_classifier(path, fit_estimator("boosting", features, labels, 2).classifier)
    return path


def _rewritten(path: Path, **changed: object) -> None:
    with np.load(path) as content:
        arrays = {name: content[name] for name in content.files}
    np.savez(path, **{name: value for name, value in {**arrays, **changed}.items() if value is not None})


@pytest.mark.parametrize("size", [0, 10, 500])
def test_a_truncated_file_is_named(kept: Path, size: int) -> None:
    kept.write_bytes(kept.read_bytes()[:size])
    with pytest.raises(DataError, match=r"classifier\.npz: (is no classifier|cannot be read)"):
        load_classifier(kept)


def test_flipped_bytes_are_noticed(kept: Path) -> None:
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 0xFF
    kept.write_bytes(content)
    with pytest.raises(DataError, match=r"classifier\.npz: (is no classifier|cannot be read)"):
        load_classifier(kept)


@pytest.mark.parametrize(
    "changed",
    [
        {"left": None},
        {"left": np.zeros(3)},
        {"left": np.full(4000, 1 << 20)},
        {"start": np.zeros(2)},
        {"start": np.array([np.nan])},
        {"classifier": np.array("{}")},
        {"classifier": np.array("[]")},
        {"classifier": np.array("not JSON")},
        {"classifier": np.array('{"format": 1, "kind": "x", "classes": 2, "width": 1, "settings": {}}')},
    ],
)
def test_arrays_that_are_not_a_classifiers_are_noticed(kept: Path, changed: dict) -> None:
    _rewritten(kept, **changed)
    with pytest.raises(DataError, match=r"classifier\.npz: (is no classifier|cannot be read)"):
        load_classifier(kept)


def test_trees_without_an_end_are_noticed(kept: Path) -> None:
    with np.load(kept) as content:
        nodes = len(content["left"])
    to_each_other = np.arange(nodes, dtype=np.int32) ^ 1
    to_each_other[to_each_other >= nodes] = 0
    _rewritten(kept, left=to_each_other, right=to_each_other)
    with pytest.raises(DataError, match=r"classifier\.npz: is no classifier.*trees"):
        load_classifier(kept)


def test_pickled_objects_are_refused(kept: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{}], object), allow_pickle=True)
    with zipfile.ZipFile(kept, "a") as archive:
        archive.writestr("more.npy", stream.getvalue())
    with pytest.raises(DataError, match=r"classifier\.npz: cannot be read.*pickle"):
        load_classifier(kept)


def test_a_newer_format_says_so(kept: Path) -> None:
    with np.load(kept) as content:
        facts = json.loads(str(content["classifier"]))
    _rewritten(kept, classifier=np.array(json.dumps({**facts, "format": 2})))
    with pytest.raises(DataError, match="newer bccli"):
        load_classifier(kept)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.npz: no such file"):
        load_classifier(tmp_path / "gone.npz")


def test_probabilities_of_a_support_vector_machine_follow_its_decisions() -> None:
    """Six patients whose looks are their own: who is left out is told the wrong way round."""
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(6), 4)
    features = np.eye(6, dtype=np.float32)[patients] * 5 + rng.normal(0, 0.01, (24, 6)).astype(np.float32)
    labels = patients % 2
    fitted = fit_classifier("svm", features, labels, 2, groups=[f"p{patient}" for patient in patients])
    assert (fitted.probabilities(features).argmax(axis=1) == labels).all()


@pytest.mark.parametrize("score", [5.0, 40.0, 300.0])
def test_a_certain_answer_keeps_its_small_complement(score: float) -> None:
    """1 - p would be 0 from a score of 37 on, and temperatures are fitted to logarithms."""
    arrays = {"mean": np.zeros(1), "scale": np.ones(1), "weights": np.ones((1, 1)), "bias": np.zeros(1)}
    found = MODELS["logistic"].answer(arrays, np.array([[score], [-score]]), 2)
    exact = np.exp(-np.logaddexp(0, score))
    np.testing.assert_allclose([found[0, 0], found[1, 1]], exact, rtol=1e-12)
