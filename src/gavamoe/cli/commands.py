"""Importing this module registers every command with the app, in the order `gavamoe --help` shows them."""

import gavamoe.cli.prepare  # noqa: F401
