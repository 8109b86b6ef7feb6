"""Importing this module registers every command with the app, in the order `gavamoe --help` shows them."""

# ruff: noqa: F401, I001 - imported for what they register, in this order
import gavamoe.cli.data
import gavamoe.cli.prepare
import gavamoe.cli.train
import gavamoe.cli.evaluate
import gavamoe.cli.score
import gavamoe.cli.explain
import gavamoe.cli.recommend
import gavamoe.cli.diagnose
import gavamoe.cli.compare
import gavamoe.cli.simulate
import gavamoe.cli.serve
import gavamoe.cli.demo
