"""The version of the package. `pyproject.toml` and `gavamoe.__version__` both read it from here."""

__version__ = "0.1.0"
