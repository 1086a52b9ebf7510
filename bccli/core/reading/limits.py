"""How much bccli takes from one file: far more than it ever writes or its users have, and bounded."""

MIB = 2**20

JSON_BYTES, JSON_DEPTH = 256 * MIB, 100
"""A JSON file: metrics of a run with many figures have a few megabytes, and a depth of ten."""
TOML_BYTES, TOML_DOTS = MIB // 4, 20
"""A recipe, policy or card, and the dots in one key of it."""
TEXT_BYTES = MIB
"""A tree, or another text of a few lines."""
LIST_BYTES = 64 * MIB
"""A list of images and their classes or patients."""
CONTOURS_BYTES = 32 * MIB
"""The contours of one image: a thousand outlined calcifications have two megabytes."""
TABLE_LINE = MIB
"""A line of a table, in characters: a thousand classes have 20,000."""
TABLE_CELL = 32_767
"""A cell of a workbook, in characters, as Excel has it."""

ARCHIVE_INDEX, ARCHIVE_MEMBERS = 4 * MIB, 10_000
"""The index of a zip file in bytes, and the members in it."""
ARCHIVE_RATIO, SMALL_MEMBER = 200, 16 * MIB
"""What may come of a byte in an archive, where more comes of a member than so many bytes."""
WORKBOOK_BYTES, WORKBOOK_CELLS = 64 * MIB, 20_000_000
"""All that a workbook unpacks to, and its cells, those between filled ones included."""
ARRAYS_BYTES = 2**33
"""All arrays of an .npz file."""
MODEL_BYTES, MODEL_CONFIG_BYTES = 2**34, 64 * MIB
"""All weights of a model, and the description of its layers."""
TFLITE_BYTES = 2**31
"""A .tflite file; its own offsets end there."""
WEIGHTS_RATIO = 20
"""Bytes of weights for each byte of their file: floats hardly shrink."""

VECTOR_WIDTH = 65_536
"""The numbers in a vector of features; those of the widest public models have 3,072."""
VECTORS_RATIO, SMALL_VECTORS = 200, 64 * MIB
"""Bytes of vectors for each byte of their file, where they are more than so many."""
VECTOR_CHUNK = 2**30
"""Bytes that have to be unpacked at once for one vector."""
VECTOR_NAME = 4096
"""The name of what a vector is of, in characters."""

MESSAGE = 500
"""A message, in characters."""
