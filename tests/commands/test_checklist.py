"""`bccli evaluate --checklist`: what follows from stored facts is filled, and nothing else is."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_report import HOSTILE, page_of, write_table
from tests.conftest import PATIENT, Bccli, draw, rows_of, save
from tests.library import Library, bccli_in
from tests.sentences import refused
from tests.test_cli import RUN, modules_after

NUMBERS = {
    "claim": [str(number) for number in range(1, 45)],
    "tripod-ai": [
        *("1", "2", "3a", "3b", "3c", "4", "5a", "5b", "6a", "6b", "6c", "7", "8a", "8b", "8c", "9a", "9b"),
        *("9c", "10", "11", "12a", "12b", "12c", "12d", "12e", "12f", "12g", "13", "14", "15", "16", "17"),
        *("18a", "18b", "18c", "18d", "18e", "18f", "19", "20a", "20b", "20c", "21", "22", "23a", "23b"),
        *("24", "25", "26", "27a", "27b", "27c"),
    ],
}  # fmt: skip
FILLED, NOT_MET, AUTHORS = "filled", "not met", "for the authors"
COLUMNS = ["item", "section", "what", "state", "text", "where"]
KINDS = "network", "folds", "tree", "unknown", "table.csv"
ONLY_AUTHORS = {
    "claim": ("2", "3", "4", "5", "6", "11", "13", "14", "15", "16", "17", "18", "31", "34", "41", "44"),
    "tripod-ai": ("2", "3a", "3b", "3c", "4", "5b", "6a", "6c", "8a", "8b", "8c", "14", "17", "18a", "19"),
}
SMALL = "--epochs", 1, "--batch-size", 16, "--trainable", "none"


def fill(root: Path) -> None:
    """Five kinds of run: of phantoms with patients, folds, a tree, one on unknown patients, and a table."""
    phantom = "phantom", "histology"
    bccli_in("prepare", *phantom, root / "data", "--count", 96, "--patients", 24, "--size", "32x32",
             "--ratios", "1/1/1")  # fmt: skip
    bccli_in("train", root / "data", root / "network", *SMALL)
    bccli_in("prepare", *phantom, root / "folded", "--count", 60, "--patients", 18, "--size", "32x32",
             "--folds", 3)  # fmt: skip
    bccli_in("train", root / "folded", root / "folds", "--fold", "all", *SMALL)
    for patient in range(18):
        for number in range(2):
            label = ("normal", "benign", "cancer")[patient % 3]
            pixels = draw(min(patient % 3, 1), patient * 10 + number)
            pixels[..., 0] //= 3 if label == "cancer" else 1
            save(root / "three" / label / f"p{patient}_{number}.png", pixels)
    bccli_in("prepare", "folder", root / "three", root / "split", *PATIENT, "--ratios", "1/1/1")
    bccli_in("hierarchy", root / "split", root / "tree", "--tree", "normal, tumor(benign, cancer)", *SMALL)
    for number in range(40):
        save(root / "two" / ("benign", "malignant")[number % 2] / f"{number}.png", draw(number % 2, number))
    bccli_in("prepare", "folder", root / "two", root / "elsewhere", "--size", "32x32")
    paper = "--protocol", "paper", "--split-by", "image"
    bccli_in("prepare", "folder", root / "two", root / "mixed", *paper, "--ratios", "2/1/1")
    bccli_in("train", root / "mixed", root / "unknown", *SMALL)
    write_table(root / "table.csv")


@pytest.fixture
def place(library: Library) -> Path:
    """The five runs, which nobody may change."""
    return library.folder("checklist", fill)


@pytest.fixture
def own(library: Library, tmp_path: Path) -> Path:
    """The five runs and their data, of one's own."""
    return library.copy("checklist", fill, tmp_path / "place")


def checklist(bccli: Bccli, *words: object, name: str = "claim") -> dict[str, dict[str, Any]]:
    """The items by number, as JSON has them."""
    stdout = bccli("evaluate", *words, "--checklist", name, "--format", "json").stdout
    return {item["item"]: item for item in json.loads(stdout)["items"]}


def states(items: dict[str, dict[str, Any]]) -> Counter[str]:
    return Counter(item["state"] for item in items.values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NUMBERS)
def test_every_item_has_a_state_and_a_wording(bccli: Bccli, place: Path, name: str, kind: str) -> None:
    stdout = bccli("evaluate", place / kind, "--checklist", name, "--format", "json").stdout
    found = json.loads(stdout)
    items = found["items"]
    assert [item["item"] for item in items] == NUMBERS[name]
    assert found["counts"] == {
        state: states({i["item"]: i for i in items})[state] for state in found["counts"]
    }
    for item in items:
        assert list(item) == COLUMNS
        assert item["what"]
        assert item["section"]
        assert item["state"] in (FILLED, NOT_MET, AUTHORS)
        assert item["state"] == AUTHORS or item["text"]
        assert item["state"] != FILLED or item["where"]
        assert not re.search(r"\bNone\b(?!: the prob)|\{|\bnan\b", item["text"]), item["text"]
    authors = {item["item"] for item in items if item["state"] == AUTHORS}
    assert authors >= set(ONLY_AUTHORS[name])
    assert "doi:10." in found["citation"]


def test_a_run_on_patients_fills_twenty_items(bccli: Bccli, place: Path) -> None:
    items = checklist(bccli, place / "network")
    assert states(items)[FILLED] >= 20
    figures = json.loads((place / "network" / "metrics.json").read_text())["runs"][1]
    info = json.loads((place / "network" / "run.json").read_text())
    assert (items["33"]["state"], items["30"]["state"]) == (NOT_MET, NOT_MET)
    expected = {
        "7": "Synthetic images",
        "9": "brought to 32×32 pixels (fit stretch)",
        "12": "Images without a patient: 0.",
        "19": "train: benign 16 images of 4 patients, malignant 16 images of 4 patients; val: ",
        "20": "Patient: none is on both sides of test and train or val, val and train",
        "22": f"{info['parameters']:,} parameters",
        "23": f"keras {info['versions']['keras']}",
        "24": "Random weights, nothing pretrained (seed 0). The backbone stayed as it was.",
        "25": "No augmentation; optimizer adam; learning rate 0.02; schedule exponential; decay 0.1",
        "26": "Epoch 1 of 1 was kept, the last; the weight decay is the one that suited",
        "27": "No ensemble: one model.",
        "28": f"the most frequent class alone has an accuracy of {figures['majority_accuracy']:.3f}",
        "29": f"{figures['rounds']:,} rounds of the bootstrap, which draws patients",
        "32": f"Accuracy on test {figures['accuracy']:.3f} (32 images of 8 patients in test)",
        "35": "24 patients; 96 images found in the source; 96 images prepared (train 32, val 32, test 32)",
        "37": f"train {figures['train_accuracy']:.3f}, val {figures['val_accuracy']:.3f}, test",
        "38": f"accuracy {figures['accuracy']:.3f} ({figures['ci']['accuracy'][0]:.2f}",
        "42": info["data"]["hash"],
    }
    assert {item: items[item]["state"] for item in expected} == dict.fromkeys(expected, FILLED)
    for item, text in expected.items():
        assert text in items[item]["text"], item
    wrong = sum(
        count
        for number, row in enumerate(figures["confusion_matrix"])
        for said, count in enumerate(row)
        if number != said
    )
    assert items["39"]["text"].startswith(f"Wrong are {wrong} of 32")
    assert items["38"]["where"] == "metrics.json: ci"
    rough = checklist(bccli, place / "network", "--bootstrap", 60)
    assert rough["38"]["where"] == "evaluate --format json: ci"


def test_folds_and_trees_say_what_they_are(bccli: Bccli, place: Path) -> None:
    folds, tree = checklist(bccli, place / "folds"), checklist(bccli, place / "tree")
    assert "3 models, one for each fold" in folds["27"]["text"]
    assert re.search(r"Accuracy over folds: mean \d\.\d+, standard deviation \d", folds["30"]["text"])
    assert folds["26"]["text"].startswith("For each fold, the last epoch was kept; the weight decay is")
    assert "fold 0: benign 10 images of 3 patients" in folds["19"]["text"]
    assert states(folds)[FILLED] >= 20
    assert tree["27"]["text"].startswith("2 classifiers, one for each inner node of normal, tumor(benign")
    assert tree["7"]["state"] == tree["8"]["state"] == AUTHORS  # one's own images
    assert tree["20"]["state"] == FILLED


def test_unknown_patients_leave_items_unmet(bccli: Bccli, place: Path) -> None:
    items = checklist(bccli, place / "unknown")
    unmet = {item for item in items if items[item]["state"] == NOT_MET}
    assert unmet == {"20", "29", "30", "32", "33", "35", "38"}
    assert "Patients of 40 images are unknown" in items["20"]["text"]
    assert "protocol paper" in items["19"]["text"]
    assert "protocol: paper" in items["37"]["text"]
    others = checklist(bccli, place / "unknown", name="tripod-ai")
    assert others["21"]["state"] == others["23a"]["state"] == others["20a"]["state"] == NOT_MET


def test_a_table_knows_its_figures_alone(bccli: Bccli, place: Path) -> None:
    items = checklist(bccli, place / "table.csv")
    assert {item for item in items if items[item]["state"] == FILLED} == {"28", "29", "37", "38", "39"}
    without = checklist(bccli, place / "table.csv", "--bootstrap", 0)
    assert without["29"]["state"] == without["38"]["state"] == NOT_MET
    assert "no intervals" in without["29"]["text"]
    assert checklist(bccli, place / "table.csv", name="tripod-ai")["22"]["state"] == AUTHORS


Change = Callable[[Any], object]


def _edit(path: Path, change: Change) -> None:
    facts = json.loads(path.read_text())
    change(facts)
    path.write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("file", "change", "item", "state"),
    [
        ("run.json", lambda info: info.pop("versions"), "23", AUTHORS),
        ("run.json", lambda info: info.pop("kept_epoch"), "26", AUTHORS),
        ("run.json", lambda info: info["settings"].pop("weights"), "24", AUTHORS),
        ("run.json", lambda info: info["settings"].pop("monitor"), "26", AUTHORS),
        ("run.json", lambda info: info.update(leakage={}), "20", AUTHORS),
        ("run.json", lambda info: info["leakage"]["test"].update(patients=2), "20", NOT_MET),
        ("run.json", lambda info: info["leakage"]["val"].update(patients=2), "20", NOT_MET),
        ("run.json", lambda info: info["leakage"]["test"].update(identical=2), "32", NOT_MET),
        ("run.json", lambda info: info["data"].update(path=None), "35", AUTHORS),
        ("run.json", lambda info: info["data"].update(hash="0" * 64), "19", AUTHORS),
        ("run.json", lambda info: info.update(dataset="csv"), "7", AUTHORS),
        ("run.json", lambda info: info["settings"].update({"compose root": "x"}), "25", AUTHORS),
    ],
)  # fmt: skip
def test_what_is_not_stored_is_not_filled(
    bccli: Bccli, own: Path, file: str, change: Change, item: str, state: str
) -> None:
    run = own / "network"
    assert checklist(bccli, run)[item]["state"] == FILLED
    _edit(run / file, change)
    assert checklist(bccli, run)[item]["state"] == state


def test_data_that_are_gone_leave_their_items_to_the_authors(bccli: Bccli, own: Path) -> None:
    before = checklist(bccli, own / "network")
    (own / "data").rename(own / "gone")
    (own / "network" / "recipe.toml").unlink()
    after = checklist(bccli, own / "network")
    lost = {item for item in before if before[item]["state"] == FILLED != after[item]["state"]}
    assert lost == {"8", "10", "12", "19", "35", "42"}
    assert after["42"]["state"] == NOT_MET
    assert "cannot be reached" in after["19"]["text"]
    assert after["25"]["text"].startswith("No live augmentation")


def test_other_data_are_external_only_where_they_are(bccli: Bccli, own: Path) -> None:
    words = own / "network", "--data", own / "elsewhere", "--device", "cpu"
    items = checklist(bccli, *words)
    assert items["33"]["state"] == FILLED
    assert "Measured on folder" in items["33"]["text"]
    assert "the run was trained on phantom" in items["33"]["text"]
    assert items["7"]["state"] == AUTHORS  # nobody but they know where the folder is from
    assert items["32"]["where"].startswith("metrics.json")
    _edit(own / "elsewhere" / "dataset.json", lambda info: info.update(dataset="phantom"))
    assert "of the same dataset" in checklist(bccli, *words)["33"]["text"]
    _edit(own / "elsewhere" / "dataset.json", lambda info: info.update(dataset="csv"))
    _edit(own / "network" / "run.json", lambda info: info.update(dataset="csv"))
    assert checklist(bccli, *words)["33"]["state"] == AUTHORS
    itself = checklist(bccli, own / "network", "--data", own / "data", "--device", "cpu")
    assert itself["33"]["state"] == itself["20"]["state"] == NOT_MET
    assert "shares" in itself["33"]["text"]


def test_strata_are_robustness(bccli: Bccli, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", columns=["site"])
    items = checklist(bccli, table, "--by", "site", name="tripod-ai")
    assert items["12d"]["state"] == items["23b"]["state"] == FILLED
    assert re.search(r"site site 0 \d\.\d{3}, site site 1", items["23b"]["text"])


def test_patches_and_copies_are_called_so(bccli: Bccli, own: Path) -> None:
    def change(info: Any) -> None:
        info["preparation"].update(patch=32, stride=32)
        info.update(augmentation={"policy": "flips"}, prepared=info["settings"])
        info["settings"] = {**info["settings"], "protocol": "paper"}

    _edit(own / "data" / "dataset.json", change)
    items = checklist(bccli, own / "network", name="tripod-ai")
    assert "benign 16 patches of 4 patients" in items["12a"]["text"]
    assert items["12a"]["text"].startswith("Image by image, augmented copies apart from their originals")
    for item in ("12a", "20a", "20b", "21"):
        assert "copies by the policy flips are counted" in items[item]["text"], item
    assert items["13"]["state"] == AUTHORS


@pytest.mark.parametrize(
    ("format", "begin"),
    [
        ("csv", ",".join(COLUMNS)),
        ("table", ""),
        ("markdown", "| "),
        ("latex", "\\begin{tabular}"),
    ],
)
def test_every_format_has_every_item(bccli: Bccli, place: Path, format: str, begin: str) -> None:
    words = "evaluate", place / "network", "--bootstrap", 0, "--checklist", "tripod-ai", "--format", format
    result = bccli(*words)
    assert result.stdout.startswith(begin)
    for number in NUMBERS["tripod-ai"]:
        assert re.search(rf"(?<!\w){number}(?!\w)", result.stdout)
    assert ("doi:10.1136/bmj-2023-078378" in result.stdout) == (format != "csv")


def test_output_has_the_checklist_beside_the_figures(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    words = "evaluate", place / "table.csv", "--bootstrap", 60, "--checklist", "claim", "--output"
    printed = bccli(*words, tmp_path / "out").stdout
    assert (tmp_path / "out" / "checklist.csv").read_text() == printed
    assert "doi:10.1148/ryai.240300" in (tmp_path / "out" / "checklist.md").read_text()
    assert (tmp_path / "out" / "figures.json").is_file()
    bccli(*words, tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "checklist.md").write_text("mine")
    refused(bccli(*words, tmp_path / "mine", exit=3), "checklist.md", "did not write it")


def test_a_report_has_the_checklist(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    words = "evaluate", place / "network", "--bootstrap", 60, "--report", tmp_path / "r.html"
    bccli(*words)
    assert "CLAIM" not in page_of(tmp_path / "r.html").text
    bccli(*words, "--checklist", "claim")
    page = page_of(tmp_path / "r.html")
    assert [element.text for element in page.of("h2")][-1] == "Checklist"
    assert "doi:10.1148/ryai.240300" in page.text
    assert "Tests on data from elsewhere" in page.text


def test_a_checklist_is_about_one_run(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    table = place / "table.csv"
    two = bccli("evaluate", table, table, "--checklist", "claim", exit=2)
    refused(two, "--checklist is about one run, and there are 2")
    columns = bccli("evaluate", table, "--checklist", "claim", "--columns", "accuracy", exit=2)
    refused(columns, "--columns is about figures")
    audit = bccli("evaluate", place / "data", "--checklist", "claim", "--audit", exit=2)
    refused(audit, "--checklist")


def test_sweeps_are_refused(bccli: Bccli, own: Path) -> None:
    words = "--backbone", "cnn-15", "--seeds", 2, *SMALL
    bccli("train", own / "data", own / "sweep", *words)
    refused(bccli("evaluate", own / "sweep", "--checklist", "claim", exit=2), "there are 2")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_stay_text(bccli: Bccli, tmp_path: Path, text: str) -> None:
    table = write_table(
        tmp_path / "t.csv", classes=(f"a {text}", f"b {text}"), name=lambda index: f"{index} {text}"
    )
    words = "evaluate", table, "--bootstrap", 0, "--checklist", "claim"
    rows = rows_of(bccli(*words, "--format", "csv").stdout)
    assert f"said to be b {text}" in rows[38]["text"]
    shown = bccli(*words, "--format", "table", "--report", tmp_path / "r.html").stdout
    assert not {"\x1b", "\u202e"} & set(shown)
    page = page_of(tmp_path / "r.html")
    assert not page.of("img")
    assert not {"\x1b", "\u202e"} & set(page.text)


@pytest.mark.parametrize(
    "change",
    [
        lambda info: info["settings"].update(ratios="x", keep={"a": 1}, magnifications=3, seed=None),
        lambda info: info.update(ages=[{"label": ""}, {}]),
        lambda info: info.update(augmentation={"policy": [1]}),
        lambda info: info.update(prepared={}),
    ],
)
def test_a_strangers_dataset_is_no_crash(bccli: Bccli, own: Path, change: Change) -> None:
    _edit(own / "data" / "dataset.json", change)
    assert len(checklist(bccli, own / "network")) == 44


@pytest.mark.parametrize(
    "change",
    [
        lambda info: info["settings"].update(stop_at=5, weights=[1], keep=7, class_weights={}, lr="x"),
        lambda info: info.update(hardware={"gpus": 5, "cpu": []}, versions={"x": None}, commit=[]),
        lambda info: info.update(versions="many", fitted={"C": None}),
    ],
)
def test_a_strangers_run_is_no_crash(bccli: Bccli, own: Path, change: Change) -> None:
    _edit(own / "network" / "run.json", change)
    assert len(checklist(bccli, own / "network")) == 44


def test_a_checklist_starts_nothing_heavy(place: Path) -> None:
    loaded = modules_after(RUN, ["evaluate", place / "table.csv", "--checklist", "claim"])
    assert not loaded & {"tensorflow", "keras", "pandas", "sklearn", "skimage", "matplotlib", "scipy", "cv2"}
