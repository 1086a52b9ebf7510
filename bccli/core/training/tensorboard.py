"""TensorBoard logs: the rows of history.csv as scalars."""

from collections.abc import Mapping
from pathlib import Path

FOLDER = "tensorboard"


class EventFile:
    """Writes each epoch's figures to a new event file in `folder`; TensorBoard joins those of one folder.

    `tf.summary.scalar` would need the package tensorboard, which TensorFlow does not bring; what it writes
    is a tensor that is marked as a scalar.
    """

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self._writer = tf.summary.create_file_writer(str(folder))
        self._scalar = tf.compat.v1.SummaryMetadata(data_class="DATA_CLASS_SCALAR")
        self._scalar.plugin_data.plugin_name = "scalars"

    def __call__(self, row: Mapping[str, float]) -> None:
        """Add a row of history.csv at its epoch."""
        import tensorflow as tf

        with self._writer.as_default(step=int(row["epoch"])):
            for name, value in row.items():
                if name != "epoch":
                    tf.summary.write(name, tf.constant(value, tf.float32), metadata=self._scalar)
        self._writer.flush()
