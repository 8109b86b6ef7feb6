"""`gavamoe serve`: the API and the page of a run."""

from __future__ import annotations

from typing import Annotated

import typer

from gavamoe.cli.options import RunArgument, Verify

EXAMPLE = "Example: gavamoe serve gavamoe-demo/run --open"
NO_STORE = "none"


def serve(
    run: RunArgument,
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond this machine, set GAVAMOE_API_KEY.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 is any free port.")] = 8000,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where explanations and feedback are kept: sqlite:///FILE, postgresql://USER:PASSWORD@HOST/NAME, or "
            "none; by default the file RUN.sqlite beside the run.",
        ),
    ] = None,
    queue: Annotated[int, typer.Option(min=1, max=100_000, help="Pairs that may wait; more are refused (429).")] = 256,
    max_wait: Annotated[
        float, typer.Option(min=0.1, help="Seconds that a request may be expected to wait; longer is refused (429).")
    ] = 10.0,
    batch: Annotated[int, typer.Option(min=1, max=1024, help="Pairs generated together.")] = 32,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Serve the page at /.")] = True,
    verify: Verify = False,
    json: Annotated[bool, typer.Option("--json", help="Print the address as one JSON object when ready.")] = False,
) -> None:
    """Answer requests for explanations over HTTP, and show a page where a person can try the run."""
    from gavamoe.errors import InputError

    if open_page and not page:
        raise InputError("--open opens the page that --no-page leaves out: leave one of them out")
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import sqlalchemy  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(
            f"{error.name} is not installed; install what serve needs: pip install 'gavamoe[serve]'"
        ) from None
    from gavamoe.cli.output import emit_json, note
    from gavamoe.service.server import serve as serve_run
    from gavamoe.service.service import Service
    from gavamoe.service.settings import ServiceSettings, key_from_environment

    url = None if store == NO_STORE else store or f"{run.absolute()}.sqlite"  # a path: in a URL ? and % have a meaning
    settings = ServiceSettings(
        host=host,
        port=port,
        queue=queue,
        max_wait=max_wait,
        batch=batch,
        store=url,
        page=page,
        api_key=key_from_environment(),
        verify=verify,
    )

    def on_ready(address: str, service: Service) -> None:
        kept = service.store.store.label if service.store.store else "in memory only"
        note(f"gavamoe: serving {service.run.id} at {address}; explanations are kept {kept}; Ctrl-C stops")
        if json:
            emit_json({"url": address, "run": service.run.id, "store": kept, "page": page})

    serve_run(run, settings, open_page, on_ready)
