"""The HTTP service of a run: an API under /v1, a page, health checks and metrics.

app, server (entry) | answers, plans, worker, generation, served_run, template | guarded_store, metrics, logs,
gatekeeper | browse, clusters, search | schemas, settings.
May import: everything but experiments and cli; only `cli/serve.py` imports this folder.
"""
