"""Go on in Python with what bccli has made: rows of a dataset, labels of images, figures, as pandas frames.

python examples/in_python.py RUN DATA IMAGE…    a run, the dataset it was trained on, images or folders
"""

import sys

import bccli


def main(run: str, data: str, *images: str) -> None:
    """Print how many images of each class a dataset has, what a run says of others, and how good it is."""
    rows = bccli.read(data)
    print(rows.groupby(["split", "label"]).size().rename("images").to_string())

    trained = bccli.load(run)
    labels = trained.predict(images)
    answered = labels[labels["error"].isna()].sort_values("probability")
    print("\nthe least certain first:")
    print(answered[["path", "predicted", "probability"]].head().to_string(index=False))

    figures = trained.evaluate()
    print("\non the test split:")
    print(figures.filter(["n", "accuracy", "accuracy_low", "accuracy_high"]).to_string(index=False))


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
