"""Importing this module registers every command with the app, in the order `gavamoe --help` shows them."""

