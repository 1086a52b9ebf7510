"""`python -m bccli` is `bccli`."""

from bccli.cli import run

if __name__ == "__main__":
    run()
