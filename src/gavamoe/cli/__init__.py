"""The command line: `main` builds the Typer app, and one module per command parses, calls and prints.

Modules: `main` (app, exit codes), `options` (options that commands share), `output` (JSON and tables), one per command.
Heavy modules are imported inside functions, so `gavamoe --help` takes under half a second.
"""
