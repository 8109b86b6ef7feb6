"""Everything of the API but the texts: store, feedback, browsing, limits, access, health, metrics and reload."""

import json
import logging
import shutil
import socket

import pytest
import torch
from helpers.service import explain, metric, open_service, pair, send_raw

from gavamoe.conditions import Condition
from gavamoe.errors import InputError
from gavamoe.explainer.explainer import Explainer
from gavamoe.pipeline.explanation_store import KeepInStore
from gavamoe.run import RunDirectory
from gavamoe.service.logs import JsonFormatter
from gavamoe.service.served_run import DIGEST_SHOWN, ServedRun

HOSTILE = [
    "<script>alert(1)</script>",
    "'; DROP TABLE explanations; --",
    "a\r\nSet-Cookie: x=1",
    "\x1b[31mred\x07",
    "\u202eright to left שלום",
    "u01/../../etc/passwd",
    "{{7*7}} ${x} %s %n",
    "日本語 😀",
]


def only(responses):
    (response,) = responses
    return response


def test_an_explained_pair_is_answered_from_the_store_until_something_of_its_key_changes(service, ask):
    def source(**fields):
        (answer,) = only(ask(service, explain(pair("u01", "i01"), **fields))).json()["explanations"]
        return answer["source"]

    assert source(evidence=2) == "model"
    assert source(evidence=2) == source(evidence=0) == "store"
    assert source(evidence=3) == "model"  # the stored one holds too little evidence
    assert source(experts=True, evidence=0) == "model"  # nor the experts; it is replaced by one that holds both
    assert source(experts=True) == source(evidence=3) == "store"
    for other in ({"seed": 1}, {"decoding": {"candidates": 1}}, {"condition": {"feature": "none"}}):
        assert source(**other) == "model"
        assert source(**other) == "store"
    assert metric(service, "gavamoe_store_lookups_total", outcome="hit") == 7
    assert metric(service, "gavamoe_explanations_total", source="store") == 7


def test_explanations_survive_a_restart_of_the_service_in_the_store(make_service, ask, tmp_path, served):
    first = make_service(f"sqlite:///{tmp_path}/kept.sqlite")
    before = only(ask(first, explain(pair("u01", "i01"), experts=True))).json()["explanations"][0]
    first.close()
    second = make_service(f"sqlite:///{tmp_path}/kept.sqlite")
    after = only(ask(second, explain(pair("u01", "i01"), experts=True))).json()["explanations"][0]
    assert after == {**before, "source": "store"}


def test_a_store_filled_from_a_file_of_pairs_answers_the_default_request(
    make_service, ask, tmp_path, explainer, served
):
    service = make_service(f"sqlite:///{tmp_path}/filled.sqlite")
    rows = [("u01", "i01"), ("u02", "i02")]
    keep = KeepInStore(service.store.store, served.digest, Condition(), explainer.decoding)
    from gavamoe.explainer.context import pair_frame

    keep(pair_frame(rows), explainer.explain_batch(rows, evidence=3), 3)
    answers = only(ask(service, explain(*(pair(*names) for names in rows)))).json()["explanations"]
    assert [answer["source"] for answer in answers] == ["store", "store"]
    assert answers[0]["text"] == explainer.explain_batch(rows[:1])[0].text


def test_requests_go_on_without_a_store_that_fails_and_the_metrics_say_so(make_service, ask):
    service = make_service("postgresql://nobody:none@127.0.0.1:9/none")
    answers = ask(service, explain(pair("u01", "i01")), explain(pair("u01", "i02")))
    assert [answer.status_code for answer in answers] == [200, 200]
    feedback = only(ask(service, ("POST", "/v1/feedback", pair("u01", "i01", useful=True))))
    assert feedback.status_code == 503
    assert "not kept" in feedback.json()["error"]
    text = only(ask(service, ("GET", "/metrics"))).text
    assert "gavamoe_store_up 0.0" in text
    assert metric(service, "gavamoe_store_errors_total", operation="read") >= 1
    assert "nobody:none" not in text  # the password of the URL


def test_feedback_is_kept_in_the_store_and_counted(service, ask):
    body = {"text": "a text", "comment": HOSTILE[1]}
    useful = ("POST", "/v1/feedback", pair("u01", "i01", useful=True, **body))
    useless = ("POST", "/v1/feedback", pair("u01", "i01", useful=False))
    assert [response.json() for response in ask(service, useful, useful, useless)] == [{"kept": True}] * 3
    assert service.store.store.count() == {"explanations": 0, "feedback": 3}
    assert metric(service, "gavamoe_feedback_total", useful="true") == 2
    assert metric(service, "gavamoe_feedback_total", useful="false") == 1


def test_known_users_get_unseen_items_by_predicted_rating_and_each_is_explained_if_asked(service, ask, explainer):
    answer = only(ask(service, ("POST", "/v1/recommend", {"user": "u01", "top": 3, "explain": True}))).json()
    expected = explainer.recommend("u01", 3)
    assert [row["item"] for row in answer["items"]] == expected["item"].to_list()
    assert [row["rating"] for row in answer["items"]] == pytest.approx(expected["rating"].to_list())
    texts = [each.text for each in explainer.explain_batch([("u01", item) for item in expected["item"]])]
    assert [row["text"] for row in answer["items"]] == texts
    assert not any("why" in row for row in answer["items"])
    everything = only(ask(service, ("POST", "/v1/recommend", {"user": "u01", "top": 100}))).json()
    assert len(everything["items"]) < 20
    assert "100 items were requested" in everything["note"]


def test_an_unknown_user_gets_the_best_rated_of_the_most_reviewed_items_and_is_told_why(service, ask, explainer):
    answer = only(ask(service, ("POST", "/v1/recommend", {"user": "nobody", "top": 4}))).json()
    means = dict(explainer.catalog.items.select("item", "mean_rating").iter_rows())
    assert [row["rating"] for row in answer["items"]] == sorted(means.values(), reverse=True)[:4]
    assert all("no training review by this user" in row["why"] for row in answer["items"])


def test_users_and_items_are_found_by_prefix_and_described(service, ask, explainer):
    catalog = explainer.catalog
    users, items, user, item, unknown = (
        response.json()
        for response in ask(
            service,
            ("GET", "/v1/users?prefix=U0&limit=100"),
            ("GET", "/v1/items?limit=2"),
            ("GET", "/v1/users/u01"),
            ("GET", "/v1/items/i01"),
            ("GET", "/v1/users/no/such"),
        )
    )
    expected = catalog.users.filter(catalog.users["user"].str.starts_with("u0"))
    assert {each["user"]: each["reviews"] for each in users["users"]} == dict(expected.select("user", "n_train").rows())
    counts = [each["reviews"] for each in users["users"]]
    assert counts == sorted(counts, reverse=True)
    assert [each["reviews"] for each in items["items"]] == sorted(catalog.items["n_train"], reverse=True)[:2]
    seen = {catalog.item_names[number] for number in catalog.seen(catalog.user_id("u01"))}
    assert {each["item"] for each in user["history"]} == seen
    assert user["known"]
    assert len(seen) == user["reviews"]
    assert sum(user["clusters"]) == pytest.approx(1)
    assert item["features"][0]["count"] >= item["features"][-1]["count"] >= 1
    assert sum(item["clusters"]) == pytest.approx(1)
    empty = {"known": False, "reviews": 0, "mean_rating": None, "clusters": [], "history": []}
    assert unknown == {"user": "no/such", **empty}


def test_the_run_its_clusters_and_its_map_are_described(service, ask, explainer):
    run, clusters, one, missing, plane = ask(
        service,
        ("GET", "/v1/run"),
        ("GET", "/v1/clusters"),
        ("GET", "/v1/clusters/0"),
        ("GET", "/v1/clusters/99"),
        ("GET", "/v1/map"),
    )
    catalog, about = explainer.catalog, run.json()
    assert (about["users"], about["items"], about["reviews"]) == (
        catalog.n_users,
        catalog.n_items,
        len(catalog.history),
    )
    assert about["scale"] == [1, 2, 3, 4, 5]
    found = clusters.json()["clusters"]
    assert sum(each["pairs"] for each in found) == len(catalog.history)
    assert sum(each["share"] for each in found) == pytest.approx(1)
    assert all(each["typical_users"] and each["length"] > 3 for each in found)
    assert one.json() == found[0]
    assert missing.status_code == 404
    points = plane.json()["points"]
    assert len(points) == min(2000, len(catalog.history))
    assert {point["cluster"] for point in points} <= {each["cluster"] for each in found}
    assert "discriminant" in plane.json()["method"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_harmless_in_answers_logs_and_metrics(service, ask, name, caplog):
    from urllib.parse import quote

    caplog.set_level(logging.INFO, "gavamoe.service")
    explained, found, profile, kept = ask(
        service,
        explain(pair(name, name, feature=name[:64])),
        ("GET", f"/v1/items?prefix={quote(name)}"),
        ("GET", f"/v1/users/{quote(name, safe='')}"),
        ("POST", "/v1/feedback", pair(name, name, useful=True, comment=name)),
    )
    assert explained.status_code == found.status_code == kept.status_code == 200
    assert explained.json()["explanations"][0]["user"] == name
    if "\n" in name:  # no path matches it
        assert profile.status_code == 404
    else:
        assert profile.json()["user"] == name
    assert explained.headers["content-type"] == "application/json"
    lines = [JsonFormatter().format(record) for record in caplog.records]
    assert all("\n" not in line and json.loads(line)["event"] for line in lines)
    exposed = only(ask(service, ("GET", "/metrics"))).text
    for output in (*lines, exposed):
        assert name not in output
        assert explained.json()["explanations"][0]["text"] not in output


BAD = [
    (b"{", "application/json", 400),
    (b"", "application/json", 422),
    (b"[]", "application/json", 422),
    (b'{"pairs": []}', "application/json", 422),
    (b'{"pairs": [{"user": "u01"}]}', "application/json", 422),
    (b'{"pairs": [{"user": "u01", "item": "i01"}], "evidance": 3}', "application/json", 422),
    (b'{"pairs": [{"user": "u01", "item": "i01", "rating": NaN}]}', "application/json", 422),
    (b'{"pairs": [{"user": "u01", "item": "i01", "rating": 9}]}', "application/json", 422),
    (b'{"pairs": [{"user": "u\\u0000", "item": "i01"}]}', "application/json", 422),
    (b'{"pairs": [{"user": "\\ud800", "item": "i01"}]}', "application/json", 422),
    (b'{"pairs": [{"user": "u01", "item": "i01"}], "condition": {"rating": "given"}}', "application/json", 422),
    (b'{"pairs": [{"user": "u01", "item": "i01"}], "decoding": {"min_new_tokens": 200}}', "application/json", 422),
    (b'{"pairs": [{"user": "u01", "item": "i01"}], "decoding": {"temperature": 1e-300}}', "application/json", 422),
    (b'{"pairs": [{"user": "' + b"x" * 1_000_000 + b'", "item": "i01"}]}', "application/json", 422),
    (b'{"pairs": [' + b'{"user":"u","item":"i"},' * 64 + b'{"user":"u","item":"i"}]}', "application/json", 413),
    (b'{"comment": "' + b"x" * 2_000_000 + b'"}', "application/json", 413),
    (b"[" * 100_000, "application/json", 400),
    (b'{"pairs": [{"user": "u01", "item": "i01"}]}', "text/plain", 422),
]


@pytest.mark.parametrize(("body", "kind", "status"), BAD)
def test_bad_requests_get_one_line_and_never_reach_the_model(make_service, body, kind, status, gate):
    import asyncio

    import httpx2

    from gavamoe.service.app import create_app

    service = make_service(store=None, gate=gate)

    async def send():
        transport = httpx2.ASGITransport(app=create_app(service))
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post("/v1/explain", content=body, headers={"content-type": kind})

    response = asyncio.run(send())
    assert response.status_code == status
    line = response.json()["error"]
    assert line
    assert "\n" not in line
    assert len(line) < 1000
    assert not gate.reached.is_set()


@pytest.mark.parametrize(("path", "query"), [("/v1/users/{}", b""), ("/v1/items/{}", b""), ("/v1/users", b"prefix={}")])
def test_names_of_a_megabyte_in_a_path_are_refused_in_one_line(service, path, query):
    long = "x" * 1_000_000
    status, body = send_raw(service, "GET", path.format(long), query=query.replace(b"{}", long.encode()))
    assert status == 422
    assert b"256 characters" in body
    assert len(body) < 1000


def test_a_body_without_a_length_is_cut_off_at_the_limit(service):
    chunks = [b'{"comment": "', *[b"x" * 100_000] * 100]
    status, body = send_raw(service, "POST", "/v1/feedback", chunks)
    assert status == 413
    assert json.loads(body)["error"]


@pytest.mark.parametrize(
    ("key", "headers", "status"),
    [
        (None, {}, 200),
        (None, {"host": "example.org"}, 403),
        (None, {"host": "127.0.0.1.example.org"}, 403),
        (None, {"origin": "https://example.org"}, 403),
        (None, {"origin": "null"}, 403),
        (None, {"origin": "http://["}, 403),
        (None, {"origin": "http://127.0.0.1"}, 200),
        ("secret", {}, 401),
        ("secret", {"authorization": "Bearer wrong"}, 401),
        ("secret", {"authorization": "Bearer secret"}, 200),
        ("secret", {"x-api-key": "secret", "host": "example.org"}, 200),
        ("secret", {"x-api-key": "secret", "host": "a.org:8443", "origin": "https://a.org:8443"}, 200),
        ("secret", {"x-api-key": "secret", "host": "a.org", "origin": "https://a.org:8443"}, 403),
        ("secret", {"authorization": "Basic OnNlY3JldA=="}, 401),
        ("secret", {"authorization": "Bearer sécret".encode("latin-1").decode("latin-1")}, 401),
    ],
)
def test_requests_need_the_key_or_without_a_key_loopback(make_service, ask, key, headers, status):
    service = make_service(store=None, api_key=key)
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    responses = ask(service, ("GET", "/v1/run"), ("POST", "/v1/recommend", {"user": "u01"}), headers=encoded)
    reading = 200 if "origin" in headers else status  # a browser keeps the answer from pages of other sites
    assert [response.status_code for response in responses] == [reading, status]
    if status == 401:
        assert "GAVAMOE" not in responses[0].text
        assert responses[0].headers["www-authenticate"].startswith("Bearer")
    health = ask(service, ("GET", "/health/live"), ("GET", "/health/ready"), headers=encoded)
    assert [response.status_code for response in health] == [200, 200]


def test_the_page_and_the_description_of_the_api_need_no_key(make_service, ask):
    service = make_service(store=None, api_key="secret")
    requests = [("GET", path) for path in ("/", "/static/js/main.js", "/openapi.json", "/metrics", "/openapi.json/x")]
    answers = ask(service, *requests)
    assert [answer.status_code for answer in answers] == [200, 200, 200, 401, 401]
    assert answers[2].json()["paths"]
    other_site = only(ask(make_service(store=None), ("GET", "/openapi.json"), headers={"host": "example.org"}))
    assert other_site.status_code == 403


def test_every_answer_has_a_strict_policy_and_a_request_id(service, ask):
    page, found, missing = ask(
        service, ("GET", "/"), ("GET", "/v1/run"), ("GET", "/nowhere"), headers={"x-request-id": "abc-1"}
    )
    for response in (page, found, missing):
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-request-id"] == "abc-1"
    assert missing.json() == {"error": "Not Found"}
    forged = only(ask(service, ("GET", "/v1/run"), headers={"x-request-id": "a b"}))
    assert forged.headers["x-request-id"] != "a b"


def test_readiness_is_false_when_the_worker_is_dead(make_service, ask):
    service = make_service(store=None)

    def die(jobs):
        raise SystemExit

    service.worker.perform = die
    lost, after = (only(ask(service, explain(pair("u01", "i01")))) for _ in range(2))
    ready, live = ask(service, ("GET", "/health/ready"), ("GET", "/health/live"))
    assert (lost.status_code, after.status_code, ready.status_code, live.status_code) == (503, 503, 503, 200)
    assert metric(service, "gavamoe_worker_alive") == 0


def test_a_device_that_is_lost_makes_the_service_unready_so_that_it_is_started_again(make_service, ask, monkeypatch):
    def lose(explainer, works):
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    monkeypatch.setattr("gavamoe.service.generation.call_model", lose)
    service = make_service(store=None)
    assert only(ask(service, explain(pair("u01", "i01")))).status_code == 503
    assert only(ask(service, ("GET", "/health/ready"))).status_code == 503


def test_a_fault_is_500_in_one_line_and_the_log_quotes_no_text(service, ask, monkeypatch, caplog):
    def fail(*arguments):
        raise RuntimeError("a review's text")

    monkeypatch.setattr("gavamoe.service.routes_browse.find_users", fail)
    response = only(ask(service, ("GET", "/v1/users")))
    assert response.status_code == 500
    assert response.headers["x-request-id"] in response.json()["error"]
    line = next(JsonFormatter().format(record) for record in caplog.records if record.exc_info)
    assert "a review's text" not in line
    assert json.loads(line)["exception"] == "RuntimeError"
    assert metric(service, "gavamoe_requests_total", route="/v1/users", method="GET", status="500") == 1


@pytest.fixture(scope="module")
def other_run(run_path, tmp_path_factory):
    """A second run beside a copy of the first one, which decodes greedily and so writes other texts."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("first", "second"):
        shutil.copytree(run_path, folder / name)
    path = folder / "second" / "explainer" / "generation_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "do_sample": False, "max_new_tokens": 6}))
    RunDirectory(folder / "second").break_seal()
    return folder


def test_a_link_that_changes_while_a_run_is_loaded_mixes_no_runs(other_run, tmp_path, monkeypatch):
    link, load = tmp_path / "current", Explainer.from_pretrained
    link.symlink_to(other_run / "first")

    def load_and_move(path, **options):
        link.unlink()
        link.symlink_to(other_run / "second")
        return load(path, **options)

    monkeypatch.setattr("gavamoe.service.served_run.Explainer.from_pretrained", load_and_move)
    loaded = ServedRun.load(link)
    assert loaded.id == f"first@{RunDirectory(other_run / 'first').digest()[:DIGEST_SHOWN]}"
    assert loaded.explainer.decoding == load(other_run / "first").decoding
    assert loaded.path == link  # a later reload reads the other run


def test_a_reload_drops_and_mixes_no_answer(make_service, ask, other_run):
    first, second = (ServedRun.load(other_run / name) for name in ("first", "second"))
    pairs = [(f"u{number:02d}", f"i{number % 19 + 1:02d}") for number in range(1, 13)]
    table = {run.id: [each.text for each in run.explainer.explain_batch(pairs)] for run in (first, second)}
    assert table[first.id] != table[second.id]
    service = make_service(store=None, run=first, batch=3)
    reload = ("POST", "/admin/reload", {"run": "second"})
    both = explain(*(pair(*names) for names in pairs))
    answers = ask(service, both, reload, *[explain(pair(*names), seed=0) for names in pairs])
    assert answers[1].json() == {"run": second.id}
    assert [each["text"] for each in answers[0].json()["explanations"]] == table[answers[0].json()["run"]]
    for number, response in enumerate(answers[2:]):
        assert response.json()["explanations"][0]["text"] == table[response.json()["run"]][number]
    after = only(ask(service, both)).json()
    assert after["run"] == second.id
    assert [each["text"] for each in after["explanations"]] == table[second.id]


@pytest.mark.parametrize("run", ["missing", "../first", "/etc", ".", "..", "a/b"])
def test_a_run_that_cannot_be_loaded_or_lies_elsewhere_leaves_the_current_one(make_service, ask, other_run, run):
    service = make_service(store=None, run=ServedRun.load(other_run / "first")) if run == "missing" else make_service()
    before = service.run
    response = only(ask(service, ("POST", "/admin/reload", {"run": run})))
    assert response.status_code == 400
    assert service.run is before
    assert metric(service, "gavamoe_reloads_total", outcome="failed") == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_listening_beyond_this_machine_needs_a_key(host):
    from gavamoe.service.settings import ServiceSettings

    with pytest.raises(InputError, match="GAVAMOE_API_KEY"):
        ServiceSettings(host=host).check()
    ServiceSettings(host=host, api_key="secret").check()
    for loopback in ("127.0.0.1", "::1", "localhost"):
        ServiceSettings(host=loopback).check()


@pytest.mark.parametrize(
    ("host", "announced"), [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]")]
)
def test_the_announced_address_is_one_that_answers(host, announced):
    from urllib.parse import urlsplit

    from gavamoe.service.server import address_of, listen

    if ":" in host and not has_ipv6_loopback():
        pytest.skip("this machine has no IPv6")
    with listen(host, 0) as listener:
        parts = urlsplit(address_of(listener))
        assert parts.netloc == f"{announced}:{listener.getsockname()[1]}"
        socket.create_connection((parts.hostname, parts.port), timeout=5).close()


def has_ipv6_loopback() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_generated_requests_find_no_fault_and_answers_match_the_openapi(served):
    schemathesis = pytest.importorskip("schemathesis", reason="install the extra 'dev'")
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.specs.openapi.checks import response_schema_conformance

    from gavamoe.service.app import create_app

    service = open_service(served, None, queue=64)
    schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(service), headers={"host": "localhost"})
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 15
    try:
        for operation in operations:
            if operation.path == "/admin/reload":  # has tests of its own, and takes a second
                continue

            @settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
            @given(case=operation.as_strategy())
            def no_fault(case):
                response = case.call(headers={"host": "localhost"})
                assert response.status_code in (200, 400, 401, 404, 413, 422, 429, 503, 504), response.text
                case.validate_response(response, checks=(response_schema_conformance,))

            no_fault()
    finally:
        service.close()
