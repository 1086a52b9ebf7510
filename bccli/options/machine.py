"""How a training uses the machine, beside its device."""

import click

from bccli.core.training.parallel.strategies import MIRRORED, MULTIWORKER, NONE, STRATEGIES

deterministic = click.option(
    "--deterministic/--no-deterministic",
    default=True,
    show_default=True,
    help="The same run again gives the same numbers, on equal machines to the byte; without, a GPU may be "
    "faster.",
)
tf32 = click.option(
    "--tf32/--no-tf32",
    default=True,
    show_default=True,
    help="GPUs since Ampere multiply and convolve numbers rounded to 10 bits behind the point, as TensorFlow "
    "has it, which is faster; without, all 23 bits of float32. Other devices always take all.",
)
strategy = click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    default=NONE,
    show_default=True,
    help=f"{MIRRORED}: the network learns on several GPUs of this machine, each batch shared among them; for "
    f"train and finetune of whole networks, where one GPU is too small or too slow. {MULTIWORKER}: on those "
    "of several machines; start the same command on each by srun, or with TF_CONFIG.",
)
devices = click.option(
    "--devices",
    type=click.IntRange(min=1),
    metavar="N",
    default=None,
    show_default="all GPUs",
    help="How many devices --strategy mirrored uses; --batch-size is that of all together. Where there is no "
    "GPU, the CPU is divided, which is for trials.",
)
