"""What follows from facts about the model: what it is, how it was trained and chosen, and what repeats it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from bccli.core.catalog import BACKBONES
from bccli.core.evaluation.checklists.facts import Facts
from bccli.core.evaluation.checklists.of_data import OF_TABLES, composed, plain
from bccli.core.evaluation.checklists.state import FILLED, Answer, filled, for_authors, not_met
from bccli.core.evaluation.report.absent import Absent
from bccli.core.runs.run_folder import (
    CLASSIFIER_FILE,
    DIAGRAM_FILE,
    EXTRACTOR_FILE,
    FUSION_FILE,
    FUSION_MODEL_FILE,
    HEAD_FILE,
    MODEL_FILE,
    RECIPE_FILE,
    VOCABULARY_FILE,
)
from bccli.core.runs.run_info import FOLDS, TREE, RunInfo

_SETTINGS = "run.json: settings"
_LAST, _HELD_OUT = "last", "held-out"
"""What settings have for the last epoch, and for a weight decay that is chosen."""


def of_run(answer: Callable[[Facts, RunInfo], Answer]) -> Callable[[Facts], Answer]:
    """The same for a table of predictions, too, which does not say what made it."""

    def answered(facts: Facts) -> Answer:
        return for_authors(OF_TABLES) if facts.run is None else answer(facts, facts.run)

    return answered


def of_training(answer: Callable[[Facts, RunInfo], Answer]) -> Callable[[Facts], Answer]:
    """The same for a tree that was composed of runs, too, whose settings say nothing of these."""

    def answered(facts: Facts, run: RunInfo) -> Answer:
        before = composed(run)
        return for_authors(before, "run.json: parts") if before else answer(facts, run)

    return of_run(answered)


@of_run
def category(facts: Facts, run: RunInfo) -> Answer:
    """What the run is, which the authors name in their title."""
    return for_authors(f"The run: {_model(run)}, for the classes {', '.join(run.classes)}.", "run.json: kind")


def _model(run: RunInfo) -> str:
    """Such as `network on vgg16, in 5 folds`."""
    folds = f", in {len(run.parts)} folds" if run.kind == FOLDS else ""
    on = "" if run.backbone in ("", "none") else f" on {run.backbone}"
    return f"{run.kind_within}{on}{folds}"


@of_training
def architecture(facts: Facts, run: RunInfo) -> Answer:
    """Input, network and output."""
    where = f"{_SETTINGS}; {DIAGRAM_FILE}" if DIAGRAM_FILE in facts.files else _SETTINGS
    return filled("; ".join(_architecture(run)) + ".", where)


def _architecture(run: RunInfo) -> Iterator[str]:
    settings = run.settings
    yield _model(run)
    if run.tree:
        yield f"a classifier for each inner node of the tree {run.tree}, decided by {run.decide}"
    yield _input(run)
    if (classifier := settings.get("classifier")) not in (None, "", "dense"):
        yield _CLASSIFIED.get(str(classifier), f"classifier {classifier} on the backbone's features")
    elif _is_rule(run):
        yield f"images from patches by {settings.get('head')}, which no network learns"
    elif head := settings.get("head"):
        dense = plain(settings.get("dense") or ()) or "none"
        yield f"head {head}, hidden layers {dense}, dropout {settings.get('dropout')}"
        yield f"output {settings.get('output')}"
    yield f"probabilities of {', '.join(run.classes)}"
    if run.parameters:
        yield f"{run.parameters:,} parameters"


def _input(run: RunInfo) -> str:
    if run.vectors:
        return f"input vectors of {run.vectors['width']:,} numbers from another program"
    return f"input {run.size[0]}×{run.size[1]} pixels, RGB"


def _is_rule(run: RunInfo) -> bool:
    """Whether a way from patches to images learns no network."""
    return run.kind_within == "fusion" and run.epochs_trained is None and not run.parts


_CLASSIFIED = {"bovw": "bag of visual words, without a network"}


@of_run
def software(facts: Facts, run: RunInfo) -> Answer:
    """Versions of what computed, and the machine."""
    versions, machine = (_mapping(run.others.get(name)) for name in ("versions", "hardware"))
    if not versions:
        return for_authors("run.json does not hold the versions of what made the run.")
    commit = run.others.get("commit")
    bccli = f"bccli {run.version}" + (f" (commit {commit})" if commit else "")
    named = ", ".join([bccli, *(f"{name} {version}" for name, version in versions.items())])
    made = _machine(machine)
    return filled(f"{named}.{made}", "run.json: versions" + (", hardware" if made else ""))


def _machine(known: Mapping[str, Any]) -> str:
    gpus = known.get("gpus")
    found = [known.get("cpu") or known.get("machine"), *(gpus if isinstance(gpus, list) else ())]
    named = ", ".join(str(part) for part in found if part)
    return f" Trained on {named}." if named else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


@of_training
def initialisation(facts: Facts, run: RunInfo) -> Answer:
    """What the weights were before training."""
    settings = run.settings
    if run.base:
        layer = settings.get("from_layer")
        which = f", and layers from {layer} on learned further" if layer not in (None, "") else ""
        return filled(
            f"Built upon the network of the run {run.base}{which}.", "run.json: base, settings.from_layer"
        )
    if run.cards:
        return _of_cards(run)
    if run.vectors:
        return for_authors(
            f"run.json does not say what network made the vectors; what decides had random weights (seed "
            f"{run.seed})."
        )
    weights = settings.get("weights")
    if weights in (None, "auto") or settings.get("classifier") == "bovw":
        return for_authors("run.json does not say what the weights were before training.")
    file = f"Weights of the file {weights}, SHA-256 {settings.get('weights_hash')}"
    words = _WEIGHTS.get(str(weights), file)
    learns = {"all": " All layers learned.", "none": " The backbone stayed as it was."}
    text = f"{words} (seed {run.seed}).{learns.get(str(settings.get('trainable')), '')}"
    return filled(text, "run.json: settings.weights, settings.trainable, seed")


def _of_cards(run: RunInfo) -> Answer:
    """The same where a backbone is a network that somebody else trained."""
    told = []
    for name, card in run.cards:
        files = ", ".join(f"{file} (SHA-256 {digest})" for file, digest in card["files"].items())
        known = card.get("pretrained_on") or "data that its card does not name"
        told.append(f"{name} is the network in {files}, pretrained on {known}")
    text = f"{'; '.join(told)}. It stayed as it was; what decides had random weights (seed {run.seed})."
    return filled(text, "backbone.toml; run.json: card, joined, seed")


_WEIGHTS = {
    "none": "Random weights, nothing pretrained",
    "imagenet": "The backbone had its ImageNet weights of Keras, the head random ones",
}


@of_training
def training(facts: Facts, run: RunInfo) -> Answer:
    """How it was trained."""
    settings = run.settings
    apart = _NOT_OF_CLASSIFIERS if run.kind_within == "classifier" else frozenset[str]()
    found = {words: settings.get(name) for name, words in _TRAINING.items() if name not in apart}
    if _is_rule(run):
        return for_authors(
            "The patches were learned by the run that this one is built upon.", "run.json: base"
        )
    if not {"optimizer", "classifier"} & settings.keys():
        return for_authors("run.json does not hold the settings of the training.")
    where = RECIPE_FILE if RECIPE_FILE in facts.files else _SETTINGS
    trained = [f"epochs trained {run.epochs_trained}"] if run.epochs_trained is not None else []
    named = [f"{words} {plain(value)}" for words, value in found.items() if value and value != "dense"]
    seed = [f"seed {run.seed}"] if run.seed is not None else []
    return filled(f"{'; '.join([_augmented(facts), *named, *trained, *seed])}.", where)


_TRAINING = {
    "optimizer": "optimizer", "lr": "learning rate", "schedule": "schedule", "decay": "decay",
    "weight_decay": "weight decay",
    "warmup": "warm-up epochs", "loss": "loss", "label_smoothing": "label smoothing",
    "batch_size": "batch size", "epochs": "epochs at most", "steps_per_epoch": "steps per epoch",
    "patience": "patience", "class_weights": "class weights", "dropout": "dropout",
    "from_layer": "from layer", "head_epochs": "epochs of the head alone", "tune_epochs": "epochs of tuning",
    "tune_lr": "learning rate of tuning", "mixed_precision": "mixed precision",
    "classifier": "classifier",
}  # fmt: skip
_NOT_OF_CLASSIFIERS = frozenset(_TRAINING) - {"class_weights", "classifier"}
"""Settings of networks; those that run.json has of a classifier, too, had no part in it."""


def _augmented(facts: Facts) -> str:
    """Which augmented copies it was trained on."""
    live = facts.settings.get("augment")
    stored = None if isinstance(facts.data, Absent) else facts.data.augmentation
    found = [f"Live augmentation by the policy {live}"] if live else []
    found += [f"Stored augmented copies by the policy {stored.get('policy')}"] if stored else []
    if not found and isinstance(facts.data, Absent):
        return "No live augmentation"
    return " and ".join(found) or "No augmentation"


def _listed(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


@of_training
def selection(facts: Facts, run: RunInfo) -> Answer:
    """How the final model was chosen."""
    settings = run.settings
    if run.fitted is not None and run.kind_within == "classifier":
        chosen = ", ".join(f"{name} {plain(value)}" for name, value in run.fitted.items()) or "none"
        return filled(f"Settings of the classifier that was kept: {chosen}.", "run.json: fitted")
    monitor = settings.get("monitor")
    in_parts = run.kind_within in ("network", TREE) and settings.get("classifier", "dense") == "dense"
    if not monitor or (run.kept_epoch is None and not (run.parts and in_parts)):
        return for_authors("run.json does not say how the model was chosen.")
    if run.kept_epoch is None:
        each = "fold" if run.kind == FOLDS else "node"
        which = "the last epoch" if monitor == _LAST else f"the epoch that was best by {monitor}"
        text, where = f"For each {each}, {which} was kept", "settings.monitor"
    else:
        which = "the last" if monitor == _LAST else f"the best by {monitor}"
        text = f"Epoch {run.kept_epoch} of {run.epochs_trained} was kept, {which}"
        where = "kept_epoch, epochs_trained, settings.monitor"
    if settings.get("weight_decay") == _HELD_OUT:
        text += "; the weight decay is the one that suited train's patients best when they were left out"
        where += ", settings.weight_decay" + (", fitted" if run.fitted else "")
    return filled(f"{text}{_stopped(settings)}.", f"run.json: {where}")


def _stopped(settings: Mapping[str, Any]) -> str:
    """What else had a part in the choice."""
    found = []
    if stop := settings.get("stop_at"):
        found.append(f"or the first at which {plain(stop, ' exceeded ')}")
    if settings.get("patience"):
        found.append(f"training ended after {settings['patience']} epochs without a gain")
    if settings.get("watch_test"):
        found.append("test was reported in each epoch")
    return "".join(f"; {words}" for words in found)


@of_run
def ensembling(facts: Facts, run: RunInfo) -> Answer:
    """Whether several models answer together, and how."""
    if run.kind == FOLDS:
        text = (
            f"{len(run.parts)} models, one for each fold: figures are of each image's own fold, and predict "
            "takes the mean of their probabilities."
        )
        return filled(text, "run.json: parts")
    if run.kind == TREE:
        text = f"{len(run.parts)} classifiers, one for each inner node of {run.tree}"
        return filled(f"{text}, decided by {run.decide}.", "run.json: parts, tree, decide")
    classifier = str(run.settings.get("classifier", ""))
    if classifier in _OF_TREES:
        return filled(f"The classifier {classifier} is an ensemble of trees.", f"{_SETTINGS}.classifier")
    fused = " Patches of an image are fused by it." if run.kind == "fusion" else ""
    return filled(f"No ensemble: one model.{fused}", "run.json: kind")


_OF_TREES = frozenset({"forest", "boosting"})


@of_training
def transformations(facts: Facts, run: RunInfo) -> Answer:
    """How pixels are scaled before the network."""
    way, row = run.settings.get("input_norm"), BACKBONES.get(run.backbone)
    if way == "train" and run.norm:
        numbers = f"mean {_listed(run.norm['mean'])} and deviation {_listed(run.norm['deviation'])}"
        return filled(f"Of pixels 0–255, train's {numbers} per channel are taken out.", "run.json: norm")
    if way != "backbone" or row is None:
        return for_authors("run.json does not say how pixels were scaled.")
    scaled = row.preprocessing.replace("_", " ")
    text = f"Pixels 0–255 are scaled inside the model as {row.name} expects them ({scaled})."
    return filled(text, f"{_SETTINGS}.input_norm")


@of_training
def predictors(facts: Facts, run: RunInfo) -> Answer:
    """What the model sees."""
    if 0 in run.size:
        return for_authors("The run was trained on stored vectors.", "run.json: size")
    text = f"The {run.size[0]}×{run.size[1]} RGB pixels of the prepared image alone"
    return filled(f"{text}; no clinical variable is used.", "run.json: size, preparation")


@of_run
def output(facts: Facts, run: RunInfo) -> Answer:
    """What the model says, and the threshold, if there is one."""
    figures = facts.figures
    text = f"A probability for each of {', '.join(run.classes)}"
    if rule := figures.threshold:
        chosen = f", chosen on {rule['chosen_on']}" if rule["chosen_on"] else ""
        text += f"; {figures.positive} from {rule['value']:.4f} on ({rule['rule']}{chosen})"
        return filled(f"{text}.", f"{facts.place}: threshold")
    if run.decide:
        return filled(f"{text}; a class is chosen in the tree by {run.decide}.", "run.json: classes, decide")
    return filled(f"{text}; the class is the most probable one.", "run.json: classes")


@of_run
def calculation(facts: Facts, run: RunInfo) -> Answer:
    """What predictions are computed with."""
    whole = whole_model(facts)
    return replace(whole, text=f"By bccli predict. {whole.text}") if whole.state == FILLED else whole


_MODEL_FILES = (
    MODEL_FILE, EXTRACTOR_FILE, FUSION_MODEL_FILE, FUSION_FILE, CLASSIFIER_FILE, VOCABULARY_FILE, HEAD_FILE,
)  # fmt: skip


@of_run
def whole_model(facts: Facts, run: RunInfo) -> Answer:
    """The files that hold the model."""
    if not run.network_kept:
        return not_met("The network of this run was not kept.", "run.json: network_kept")
    if run.parts:
        parts = f"The model is in the runs {', '.join(run.parts)} within the run"
        return filled(f"{parts}; who may use it, the authors say.", "run.json: parts")
    found = [name for name in _MODEL_FILES if name in facts.files]
    if not found:
        return not_met("The run holds no file of the model.", "run.json: files")
    files = ", ".join(f"{name} (SHA-256 {run.files.get(name)})" for name in found)
    others = [f"{file} (SHA-256 {digest})" for _, card in run.cards for file, digest in card["files"].items()]
    besides = f", and on the network of others in {', '.join(others)}" if others else ""
    return filled(f"The model is in {files}{besides}; who may use it, the authors say.", "run.json: files")


@of_run
def protocol(facts: Facts, run: RunInfo) -> Answer:
    """Where all technical details are."""
    if RECIPE_FILE not in facts.files:
        return not_met("The run lacks its recipe.toml.")
    text = "All settings are in recipe.toml, which bccli takes as --recipe to repeat the run"
    hashed = f" on data with the content hash {run.data.hash}"
    return filled(f"{text}{hashed}.", f"{RECIPE_FILE}; run.json: settings, data.hash")


@of_run
def availability(facts: Facts, run: RunInfo) -> Answer:
    """What could be made available; whether it is, is for the authors."""
    commit = run.others.get("commit")
    software = f"bccli {run.version}" + (f" (commit {commit})" if commit else "")
    return for_authors(f"There are {software}, the run, and data with the content hash {run.data.hash}.")


@of_training
def imbalance(facts: Facts, run: RunInfo) -> Answer:
    """What was done about classes of different sizes."""
    if (weights := run.settings.get("class_weights")) is None or isinstance(facts.data, Absent):
        return for_authors("What was done about it is not known from run.json alone.")
    copies = facts.data.augmentation is not None
    kept = (facts.data.prepared or facts.data.settings).get("keep")
    found = ["classes weighted so that each counts the same"] * (weights == "balanced")
    found += [f"of train, a share of a class kept only ({kept})"] * bool(kept)
    if copies:
        return for_authors("Stored augmented copies may have changed how often classes occur.")
    text = "; ".join(found) or "nothing: no class was weighted or sampled otherwise"
    where = "run.json: settings.class_weights; dataset.json: settings"
    return filled(f"{text[:1].upper()}{text[1:]}.", where)


@of_run
def updating(facts: Facts, run: RunInfo) -> Answer:
    """Whether the model was recalibrated."""
    temperature = facts.figures.temperature
    if temperature is None:
        stored = " A temperature is stored, and was left out here." if run.calibration else ""
        text = f"None: the probabilities are as the model gives them.{stored}"
        return filled(text, f"{facts.place}: temperature")
    text = f"Probabilities were recalibrated by the temperature {temperature:.4f}, fitted to val."
    return filled(text, f"{facts.place}: temperature")
