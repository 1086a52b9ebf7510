"""Prepared datasets whose images are elsewhere: rows about them, with splits and an audit by patient."""
