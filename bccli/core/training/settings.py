"""The table of training settings: one row each, from which options, recipes and comparisons are made.

A row is a field of `Schedule` where it is about the training of a network, and else one of `SETTINGS` below.
This module imports nothing heavy, as `--help` needs it.
"""

from dataclasses import dataclass

from bccli.core.errors import UsageError
from bccli.core.models.heads import HEADS, LOSSES, OUTPUTS, find_loss
from bccli.core.training.learning_rate import SCHEDULES, Rates, check_rates
from bccli.core.training.setting_types import (
    ANY_JOB,
    FEATURES,
    FUSION,
    NETWORK,
    STEPS,
    TUNING,
    WORDS,
    Choice,
    FileOr,
    Fold,
    Folder,
    Number,
    NumberOr,
    PolicyFile,
    Setting,
    Sizes,
    Switch,
    Target,
    Whole,
    rows_of,
    setting,
)

AUTO = "auto"
"""A choice that each network makes for itself: of a sweep, each member."""

HELD_OUT = "held-out"
"""A weight decay that is chosen by patients of train who are left out."""

# What can be watched, and whether a larger value is better.
MEASURES = {"val_loss": False, "val_accuracy": True, "loss": False, "accuracy": True}
LAST = "last"
"""What is monitored where the last epoch is the best one, whatever it measures."""
OPTIMIZERS = {"adam": ("Adam", 1e-3), "rmsprop": ("RMSprop", 1e-3), "sgd": ("SGD", 1e-2)}


@dataclass(frozen=True)
class Schedule:
    """How to train: everything that decides the weights, besides network and data."""

    output: str = setting(
        "softmax",
        Choice(tuple(OUTPUTS)),
        "The last activation; sigmoid is one unit, for two classes.",
        inferred=True,
        jobs=STEPS,
    )
    loss: str = setting(
        "categorical_crossentropy",
        Choice(tuple(dict.fromkeys(loss for loss, _ in LOSSES))),
        "What is minimised.",
        inferred=True,
        jobs=STEPS,
    )
    label_smoothing: float = setting(
        0.0,
        Number(0, 1, open_most=True),
        "Share of each label that is spread evenly over all classes.",
        jobs=STEPS,
    )
    optimizer: str = setting(
        "adam", Choice(tuple(OPTIMIZERS)), "What turns gradients into steps.", jobs=STEPS
    )
    lr: float = setting(1e-3, Number(0, open_least=True), "Learning rate.", inferred=True, jobs=STEPS)
    schedule: str = setting(
        "constant",
        Choice(tuple(SCHEDULES)),
        "How the learning rate changes: cosine to 0 over all epochs; exponential and step by --decay, evenly "
        "or at once; plateau by --decay whenever --monitor has not gained for --decay-epochs.",
        inferred=True,
        shown="constant; exponential for a single dense layer with --weight-decay",
        jobs=STEPS,
    )
    decay: float | None = setting(
        None,
        Number(0, 1, open_least=True, open_most=True),
        "What exponential, step and plateau multiply the learning rate by.",
        shown="0.1",
        jobs=STEPS,
    )
    decay_epochs: float | None = setting(
        None,
        Number(0, open_least=True),
        "In how many epochs they do so once; plateau after how many without a gain.",
        shown="10; 12 for a single dense layer with --weight-decay",
        jobs=STEPS,
    )
    warmup: float = setting(
        0.0,
        Number(0),
        "In how many epochs the learning rate grows up to --lr, before its schedule begins.",
        metavar="EPOCHS",
        jobs=STEPS,
    )
    weight_decay: float | str = setting(
        0.0,
        NumberOr((AUTO, HELD_OUT)),
        "Half of it times the squares of all kernels that learn joins the loss; held-out: so much as suits "
        "patients of train who are left out, of a single dense layer on --feature-norm train; auto: this for "
        "such a head with its output's cross-entropy, by adam or rmsprop, else 0.",
        inferred=True,
        shown=AUTO,
        metavar="auto|held-out|NUMBER",
        jobs=frozenset({NETWORK, TUNING}),
    )
    clip_norm: float | None = setting(
        None,
        Number(0, open_least=True),
        "Shorten the gradient of a step to this norm, all weights taken together.",
        jobs=STEPS,
    )
    batch_norm_momentum: float | None = setting(
        None,
        Number(0, 1, open_most=True),
        "Share of its mean and variance that a batch norm which learns keeps in a step.",
        shown="the network's own: 0.99 in most of Keras's backbones, 0.9 in cnn-15 and the thesis head",
        jobs=frozenset({NETWORK, TUNING}),
    )
    head_epochs: int = setting(
        0, Whole(0), "Only the head learns in the first N epochs.", metavar="N", jobs=frozenset({TUNING})
    )
    layer_decay: float = setting(
        1.0,
        Number(0, 1, open_least=True),
        "The learning rate of each layer is that of the next one above times this.",
        jobs=frozenset({TUNING}),
    )
    batch_size: int = setting(32, Whole(), "Images per step.")
    epochs: int = setting(50, Whole(), "Passes over train; the best one by --monitor is kept.", jobs=STEPS)
    steps_per_epoch: int | None = setting(
        None,
        Whole(),
        "End an epoch after so many steps; the next one goes on where it ended.",
        shown="one pass; at least 80 for a single dense layer with --weight-decay, on stored features",
        jobs=STEPS,
    )
    patience: int | None = setting(None, Whole(), "Stop after so many epochs without a gain.", jobs=STEPS)
    monitor: str = setting(
        "val_loss",
        Choice((*MEASURES, LAST)),
        "Which epoch is best.",
        inferred=True,
        shown="val_loss; last for a single dense layer with --weight-decay",
        jobs=STEPS,
    )
    stop_at: tuple[str, float] | None = setting(
        None, Target(tuple(MEASURES)), "Stop once exceeded, and keep that epoch.", jobs=STEPS
    )
    class_weights: str = setting(
        "none",
        Choice(("none", "balanced")),
        "balanced: each class counts the same, however many images it has.",
    )
    mixed_precision: bool = setting(
        False,
        Switch(),
        "Train in 16 bits where that is safe, which is faster on GPUs; the model is saved in 32.",
        jobs=STEPS - {FUSION},
    )
    mixed_type: str = setting(
        "float16",
        Choice(("float16", "bfloat16")),
        "The 16 bits of --mixed-precision: float16 is finer; bfloat16 has the range of 32 bits.",
        jobs=STEPS - {FUSION},
    )
    seed: int = setting(0, Whole(0, 2**32 - 1), "Start of all random draws.", metavar="N")

    @property
    def rates(self) -> Rates:
        """The learning rates of all steps."""
        return Rates(self.lr, self.epochs, self.schedule, self.warmup, self.decay, self.decay_epochs)

    def check(self) -> None:
        """Raises UsageError for settings that contradict each other."""
        find_loss(self.loss, self.output)
        check_rates(self.rates)
        if self.monitor == LAST and (self.patience is not None or SCHEDULES[self.schedule].waits):
            what = "--patience" if self.patience is not None else f"--schedule {self.schedule}"
            raise UsageError(f"{what}: with --monitor {LAST} each epoch is a gain; say --monitor val_loss")

    @property
    def extendable(self) -> bool:
        """Whether more epochs begin like fewer ones."""
        return not SCHEDULES[self.schedule].ends

    def steps(self, examples: int) -> int:
        """How many steps an epoch has: one pass over so many training examples, unless said otherwise."""
        return self.steps_per_epoch or -(-examples // self.batch_size)


OF_THE_BACKBONE = (
    Setting(
        "weights",
        FileOr((AUTO, "imagenet", "none")),
        "Weights to start from; auto: imagenet where the network has some, else none. FILE#sha256=HEX "
        "refuses any other file.",
        default=AUTO,
        metavar="auto|imagenet|none|FILE",
        jobs=frozenset({NETWORK, FEATURES}),
    ),
    Setting(
        "trainable",
        Choice((AUTO, "none", "all")),
        "Which layers of the backbone learn; auto: none with weights, all without.",
        default=AUTO,
        jobs=frozenset({NETWORK, FEATURES, WORDS}),
    ),
    Setting(
        "input_norm",
        Choice(("backbone", "train")),
        "How pixels reach the backbone: as it was trained with them, or with the mean and deviation of "
        "train's channels taken out of them.",
        default="backbone",
        jobs=frozenset({NETWORK, FEATURES}),
    ),
)

_OF_THE_HEAD = (
    Setting(
        "head",
        Choice(tuple(HEADS)),
        "What sits on the backbone: gap on the global average of its maps; two-views on that of the image "
        "and that of its middle part, joined, of data prepared with --context; blocks on those of all its "
        "blocks, joined; thesis on the maps themselves, pooled 2×2, flattened and normalised by batch. "
        "detector learns from masks where lesions are, on maps of several scales.",
        jobs=ANY_JOB - {WORDS},
    ),
    Setting("dense", Sizes("1024,1024"), "Hidden layers of the head.", jobs=STEPS),
    Setting(
        "dropout",
        Number(0, 1, open_most=True),
        "Share of the last hidden layer's units that rest in a step.",
        jobs=STEPS,
    ),
    Setting(
        "feature_norm",
        Choice((AUTO, "none", "train")),
        "How features reach the head: as they are, or with the mean and deviation of train's taken out of "
        "them, which is a part of the head; auto: train for gap, two-views and blocks on a frozen backbone.",
        default=AUTO,
        jobs=frozenset({NETWORK}),
    ),
)

_OF_THE_DATA = (
    Setting(
        "augment",
        PolicyFile(),
        "Show training a fresh augmented copy of each image every time, by a policy that bccli augment "
        "--list-policies names.",
        metavar="POLICY|FILE",
    ),
    Setting(
        "views",
        Whole(),
        "With --augment and a frozen backbone: compute the features of so many augmented copies of each "
        "image once, and draw among these; an approximation of fresh copies.",
    ),
    Setting(
        "augment_val",
        Switch(),
        "Watch val augmented, too, as Keras's generators do; final figures are of images as they are.",
        default=False,
        jobs=STEPS,
    ),
    Setting(
        "watch_test",
        Switch(),
        "Of data of --protocol paper, report the loss and accuracy of test in each epoch, too; nothing is "
        "chosen by them.",
        default=False,
        jobs=STEPS,
    ),
    Setting("fold", Fold(), "The fold to test on, or all in turn.", metavar="K|all"),
)

_OF_THE_WORK = (
    Setting(
        "cache",
        Folder(),
        "Where features are kept.",
        shown="DATA/.cache, or RUN/.cache where DATA is read-only",
        changes_results=False,
        repeated=False,
        environment=("BCCLI_TRAIN_CACHE", "BCCLI_CACHE"),
    ),
    Setting(
        "allow_leakage",
        Switch(),
        "Train although test shares patients or images with train.",
        default=False,
        changes_results=False,
    ),
    Setting(
        "tensorboard",
        Switch(),
        "Also write RUN/tensorboard.",
        default=False,
        jobs=STEPS,
        changes_results=False,
        repeated=False,
    ),
)

SETTINGS: tuple[Setting, ...] = (
    *OF_THE_BACKBONE, *_OF_THE_HEAD, *rows_of(Schedule), *_OF_THE_DATA, *_OF_THE_WORK,
)  # fmt: skip
"""All training settings, in the order in which `--help` and recipes name them."""
