"""Webhooks: subscriptions, their deliveries, test events and redelivery."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.conformance.tasks.conftest import Json, NewTask, wait_ended
from tests.conformance.tasks.errors import check_error
from tests.conformance.tasks.test_tasks import check_time

URL = "http://127.0.0.1:9/hook"
"""Nobody takes anything there: what is sent stays pending."""
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NOBODY = "webhook-00000000-0000-7000-8000-000000000000"
WEBHOOK = ["id", "url", "description", "events", "enabled", "disabled_reason", "created_at", "updated_at"]
DELIVERY = [
    "id", "webhook_id", "event", "status", "attempts", "status_code", "error", "created_at", "next_attempt_at", "completed_at",
    "payload",
]  # fmt: skip
NewWebhook = Callable[..., Json]


@pytest.fixture
def new_webhook(http: httpx.Client) -> Iterator[NewWebhook]:
    """Creates a webhook and answers it; they are gone after the test."""
    created: list[str] = []

    def create(**fields: object) -> Json:
        answer = http.post("/api/webhooks", json={"url": URL, **fields})
        assert answer.status_code == 201, answer.text
        webhook: Json = answer.json()["data"]
        created.append(webhook["id"])
        return webhook

    yield create
    for webhook_id in created:
        http.delete(f"/api/webhooks/{webhook_id}")


def shown(webhook: Json) -> Json:
    """A webhook as it is shown once its secret is not."""
    return {name: value for name, value in webhook.items() if name != "secret"}


def deliveries(http: httpx.Client, webhook: Json, **params: object) -> Json:
    answer = http.get(f"/api/webhooks/{webhook['id']}/deliveries", params=params)  # type: ignore[arg-type]  # as a user gives them
    assert answer.status_code == 200, answer.text
    page: Json = answer.json()
    return page


def check_delivery(delivery: Json) -> Json:
    assert list(delivery) == DELIVERY
    assert delivery["status"] in {"pending", "delivered", "failed"}
    assert type(delivery["attempts"]) is int
    assert isinstance(check_time(delivery["created_at"]), object)
    assert (delivery["next_attempt_at"] is None) == (delivery["status"] != "pending")
    assert delivery["payload"]["event"] == delivery["event"]
    return delivery


@pytest.mark.endpoint("tasks", "POST /api/webhooks")
@pytest.mark.endpoint("tasks", "GET /api/webhooks/{webhook_id}")
def test_a_webhook_is_created_and_its_secret_shown_once(http: httpx.Client, new_webhook: NewWebhook) -> None:
    webhook = new_webhook(events=["task.completed", "task.failed"], description="to the team")
    assert list(webhook) == [*WEBHOOK, "secret"]
    assert (webhook["url"], webhook["description"], webhook["enabled"]) == (URL, "to the team", True)
    assert (webhook["events"], webhook["disabled_reason"]) == (["task.completed", "task.failed"], None)
    assert len(base64.b64decode(webhook["secret"].removeprefix("whsec_"))) >= 24
    assert check_time(webhook["created_at"]) <= check_time(webhook["updated_at"])
    answer = http.get(f"/api/webhooks/{webhook['id']}")
    assert answer.status_code == 200
    assert answer.json() == {"data": shown(webhook)}
    assert webhook["secret"] not in http.get("/api/webhooks").text


@pytest.mark.endpoint("tasks", "POST /api/webhooks")
def test_what_is_left_out_of_a_webhook(http: httpx.Client, new_webhook: NewWebhook) -> None:
    webhook = new_webhook()
    assert (webhook["events"], webhook["description"], webhook["enabled"]) == ([], None, True)
    assert new_webhook(secret=SECRET, enabled=False)["secret"] == SECRET
    assert new_webhook(secret=None)["secret"] != webhook["secret"]


@pytest.mark.endpoint("tasks", "POST /api/webhooks")
def test_the_same_idempotency_key_creates_one_webhook(http: httpx.Client, tag: str) -> None:
    headers = {"Idempotency-Key": tag}
    answers = [http.post("/api/webhooks", json={"url": URL}, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    path = f"/api/webhooks/{answers[0].json()['data']['id']}"
    http.put(path, json={"description": "changed"})
    assert http.post("/api/webhooks", json={"url": URL}, headers=headers).json()["data"]["secret"] is None
    check_error(http.post("/api/webhooks", json={"url": URL + "2"}, headers=headers), 422, code="idempotency_mismatch")
    assert http.delete(path).status_code == 200


@pytest.mark.endpoint("tasks", "GET /api/webhooks")
def test_webhooks_are_listed_in_pages_newest_first(http: httpx.Client, new_webhook: NewWebhook) -> None:
    ids = [new_webhook()["id"] for _ in range(3)][::-1]
    answer = http.get("/api/webhooks", params={"limit": 2})
    assert answer.status_code == 200
    assert all(list(webhook) == WEBHOOK for webhook in answer.json()["data"])
    total = answer.json()["meta"]["total"]
    assert answer.json()["meta"] == {"page": 1, "limit": 2, "total": total, "pages": -(-total // 2)}
    rest = http.get("/api/webhooks", params={"limit": 2, "page": 2}).json()["data"]
    assert [webhook["id"] for webhook in (*answer.json()["data"], *rest)][:3] == ids


@pytest.mark.endpoint("tasks", "PUT /api/webhooks/{webhook_id}")
@pytest.mark.parametrize(
    "change",
    [{"url": "https://example.com/other"}, {"description": "other"}, {"description": None}, {"enabled": False}, {"events": []},
     {"events": ["worker.offline"]}],
)  # fmt: skip
def test_each_field_of_a_webhook_changes_alone(http: httpx.Client, new_webhook: NewWebhook, change: Json) -> None:
    webhook = new_webhook(events=["task.created"], description="a")
    answer = http.put(f"/api/webhooks/{webhook['id']}", json=change)
    assert answer.status_code == 200, answer.text
    after = answer.json()["data"]
    assert after == {**shown(webhook), **change, "updated_at": after["updated_at"]}
    assert http.get(f"/api/webhooks/{webhook['id']}").json()["data"] == after


@pytest.mark.endpoint("tasks", "PUT /api/webhooks/{webhook_id}")
def test_a_new_secret_is_not_shown(http: httpx.Client, new_webhook: NewWebhook) -> None:
    path = f"/api/webhooks/{new_webhook()['id']}"
    answer = http.put(path, json={"secret": SECRET})
    assert answer.status_code == 200
    assert list(answer.json()["data"]) == WEBHOOK
    for wrong in ("", "whsec_", "x" * 40, "whsec_" + base64.b64encode(b"short").decode(), SECRET + "=", 3, None):
        refused = http.put(path, json={"secret": wrong})
        check_error(refused, 422, "secret")
        assert str(wrong) not in refused.text or not wrong or wrong in {"whsec_", 3}


@pytest.mark.endpoint("tasks", "DELETE /api/webhooks/{webhook_id}")
def test_a_deleted_webhook_is_gone(http: httpx.Client, new_webhook: NewWebhook) -> None:
    path = f"/api/webhooks/{new_webhook()['id']}"
    answer = http.delete(path)
    assert answer.status_code == 200
    assert answer.json() == {"data": {"success": True, "message": "Webhook deleted successfully"}}
    for method, after in (("GET", ""), ("DELETE", ""), ("GET", "/deliveries"), ("POST", "/test")):
        check_error(http.request(method, path + after), 404, code="not_found")


@pytest.mark.endpoint("tasks", "GET /api/webhooks/{webhook_id}/deliveries")
def test_events_of_tasks_become_deliveries(http: httpx.Client, new_webhook: NewWebhook, new_task: NewTask) -> None:
    webhook = new_webhook(events=["task.created", "task.started", "task.completed"])
    task = wait_ended(http, new_task(command="echo 'Task executed successfully'")["id"])
    page = deliveries(http, webhook)
    assert page["meta"] == {"page": 1, "limit": 20, "total": 3, "pages": 1}
    found = [check_delivery(delivery) for delivery in page["data"]]
    assert [delivery["event"] for delivery in found] == ["task.completed", "task.started", "task.created"]
    assert {delivery["webhook_id"] for delivery in found} == {webhook["id"]}
    payload = found[0]["payload"]
    assert list(payload) == ["event", "timestamp", "task"]
    assert isinstance(check_time(payload["timestamp"]), object)
    documented = {name: task[name] for name in ("id", "name", "status", "result", "started_at", "completed_at")}
    assert payload["task"].items() >= documented.items()
    assert [one["id"] for one in deliveries(http, webhook, limit=2, page=2)["data"]] == [found[2]["id"]]
    assert deliveries(http, webhook, status="delivered")["data"] == []


@pytest.mark.endpoint("tasks", "POST /api/webhooks/{webhook_id}/test")
def test_a_test_event_is_queued(http: httpx.Client, new_webhook: NewWebhook, tag: str) -> None:
    webhook = new_webhook(enabled=False)
    headers = {"Idempotency-Key": tag}
    answers = [http.post(f"/api/webhooks/{webhook['id']}/test", headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    queued = [check_delivery(answer.json()["data"]) for answer in answers]
    assert (queued[0]["event"], queued[0]["webhook_id"]) == ("webhook.test", webhook["id"])
    assert queued[0]["id"] == queued[1]["id"]
    assert [one["id"] for one in deliveries(http, webhook)["data"]] == [queued[0]["id"]]


@pytest.mark.endpoint("tasks", "POST /api/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver")
def test_a_delivery_is_queued_again(http: httpx.Client, new_webhook: NewWebhook) -> None:
    webhook = new_webhook()
    delivery = http.post(f"/api/webhooks/{webhook['id']}/test").json()["data"]
    path = f"/api/webhooks/{webhook['id']}/deliveries"
    answer = http.post(f"{path}/{delivery['id']}/redeliver")
    assert answer.status_code == 202
    again = check_delivery(answer.json()["data"])
    assert (again["id"], again["status"]) == (delivery["id"], "pending")
    assert deliveries(http, webhook)["meta"]["total"] == 1
    for unknown in ("x", NOBODY[8:], delivery["id"].upper()):
        check_error(http.post(f"{path}/{unknown}/redeliver"), 404, code="not_found")
    check_error(http.post(f"/api/webhooks/{NOBODY}/deliveries/{delivery['id']}/redeliver"), 404, code="not_found")


@pytest.mark.endpoint("tasks", "POST /api/webhooks")
@pytest.mark.parametrize(
    ("field", "value"),
    [("url", None), ("url", ""), ("url", "example.com"), ("url", "ftp://example.com"), ("url", "http://a:b@example.com/"),
     ("url", "http://x/" + "a" * 2_048), ("events", "task.created"), ("events", ["webhook.test"]), ("events", ["task.done"]),
     ("events", [1]), ("description", "x" * 4_097), ("enabled", 1), ("secret", ""), ("secret", "x"), ("id", "x"),
     ("events", None)],
)  # fmt: skip
def test_a_webhook_with_a_wrong_field_is_422(http: httpx.Client, field: str, value: object) -> None:
    details = check_error(http.post("/api/webhooks", json={"url": URL, field: value}), 422)
    assert details["fields"][0]["field"].partition("[")[0] == field
    check_error(http.post("/api/webhooks", json={}), 422, "url")


@pytest.mark.endpoint("tasks", "PUT /api/webhooks/{webhook_id}")
def test_a_change_of_a_webhook_names_a_field(http: httpx.Client, new_webhook: NewWebhook) -> None:
    path = f"/api/webhooks/{new_webhook()['id']}"
    check_error(http.put(path, json={}), 422)
    check_error(http.put(path, json={"created_at": "2026-01-01T00:00:00Z"}), 422, "created_at")


@pytest.mark.parametrize("webhook_id", [NOBODY, NOBODY[8:], "x", NOBODY.upper(), "webhook-100"])
def test_an_unknown_webhook_is_404(http: httpx.Client, webhook_id: str) -> None:
    path = f"/api/webhooks/{webhook_id}"
    check_error(http.get(path), 404, code="not_found")
    check_error(http.put(path, json={"enabled": True}), 404, code="not_found")
    check_error(http.delete(path), 404, code="not_found")
    check_error(http.get(f"{path}/deliveries"), 404, code="not_found")
    check_error(http.post(f"{path}/test"), 404, code="not_found")


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [("", "page", "0"), ("", "limit", "101"), ("", "status", "pending"), ("/deliveries", "status", "sent"),
     ("/deliveries", "limit", "0"), ("/deliveries", "sort", "id")],
)  # fmt: skip
def test_a_wrong_parameter_of_webhooks_is_400(
    http: httpx.Client, new_webhook: NewWebhook, path: str, name: str, value: str
) -> None:
    if path:
        path = f"/{new_webhook()['id']}{path}"
    check_error(http.get(f"/api/webhooks{path}", params={name: value}), 400, name, code="invalid_parameter")
