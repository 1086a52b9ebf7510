"""What a command needs and a small install lacks: one sentence with the line that helps."""

_PACKAGES = {
    "tensorflow": ("TensorFlow", "tensorflow"),
    "keras": ("TensorFlow", "tensorflow"),
    "ai_edge_litert": ("LiteRT", "ai-edge-litert"),
    "imgaug": ("imgaug", "imgaug==0.4.0"),
    "skimage": ("scikit-image", "scikit-image"),
    "cv2": ("OpenCV", "opencv-python"),
    "matplotlib": ("Matplotlib", "matplotlib"),
    "sklearn": ("scikit-learn", "scikit-learn"),
    "scipy": ("SciPy", "scipy"),
    "pandas": ("pandas", "pandas"),
    "tabulate": ("tabulate", "tabulate"),
    "jinja2": ("Jinja", "jinja2"),
    "h5py": ("h5py", "h5py"),
    "openpyxl": ("openpyxl", "openpyxl"),
    "pydicom": ("pydicom", "pydicom"),
    "tifffile": ("tifffile", "tifffile"),
    "imagecodecs": ("imagecodecs", "imagecodecs"),
    "simplejpeg": ("simplejpeg", "simplejpeg"),
    "flatbuffers": ("FlatBuffers", "flatbuffers"),
}
"""Modules by their names in Python: what they are called, and what pip calls them."""


def missing(module: str, command: str) -> str:
    """The sentence for a module that is not installed; empty for one that bccli does not depend on.

    >>> missing("tensorflow.data", "train")
    'train needs TensorFlow: pip install tensorflow'
    """
    name, package = _PACKAGES.get(module.partition(".")[0], ("", ""))
    return f"{command} needs {name}: pip install {package}" if name else ""
