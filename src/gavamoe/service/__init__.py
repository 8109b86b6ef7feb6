"""The HTTP service of a run: an API under /v1, a page, health checks and metrics.

app, server, service (entry) | routes_explain, routes_browse, routes_operate, dependencies | answers, plans, worker,
wait_estimate, generation, served_run, template | guarded_store, metrics, logs, gatekeeper | browse, clusters, search |
schemas and settings.
"""
