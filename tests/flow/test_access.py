"""Every route over a node with keys: who may, who may not, and from where."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from calls import refused, store, unique

from fast_model import ENVIRON, install_fast_model
from pictures import png
from running_node import RunningNode, start_node
from skerry.api.app import routes
from skerry.api.contract import Route

SCOPES = ("read", "infer", "write", "admin")
ROUTES = routes()
GUARDED = [route for route in ROUTES if route.access != "public"]


@dataclass
class Keyed:
    """A node with a key of each scope, and keys that no longer work."""

    node: RunningNode
    client: httpx.Client
    secrets: dict[str, str]

    def call(self, route: Route, secret: str | None, **headers: str) -> httpx.Response:
        """The route with a harmless request, with this key."""
        if secret is not None:
            headers["authorization"] = f"Bearer {secret}"
        return self.client.request(
            route.method,
            # An absent id: the call is refused or finds nothing, and changes nothing.
            route.path.replace("{name:path}", "none").translate(str.maketrans("{}", "xx")),
            headers=headers,
            content=b"{}" if route.body else None,
        )


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    models = install_fast_model(tmp_path_factory.mktemp("access") / "models")
    data = tmp_path_factory.mktemp("keyed") / "data"
    node = start_node(data, models=models, environ=ENVIRON)
    with node.client() as client:
        secrets: dict[str, str] = {}

        def create(name: str, **more: Any) -> dict[str, Any]:
            head = {"authorization": f"Bearer {secrets['admin']}"} if secrets else {}
            body = {"name": name, "scope": "admin", **more}
            made = client.post("/api/keys", json=body, headers=head)
            assert made.status_code == 201, made.text
            secrets[name] = made.json()["secret"]
            return dict(made.json()["key"], authorization=head)

        create("admin")
        for scope in SCOPES[:-1]:
            create(scope, scope=scope)
        key = create("revoked")
        client.delete(f"/api/keys/{key['id']}", headers=key["authorization"]).raise_for_status()
        create("expired", expires_at=int(time.time()) + 1)
        end = time.monotonic() + 10
        while client.get("/api/status", headers={"x-api-key": secrets["expired"]}).is_success:
            assert time.monotonic() < end, "the key does not expire"
            time.sleep(0.05)
        whole = secrets["admin"]
        secrets["forged"] = whole[:-1] + ("A" if whole[-1] != "A" else "B")
        secrets["unknown"] = "sk_01234567_" + "a" * 43
        yield Keyed(node, client, secrets)
    node.kill()


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


def test_the_table_holds_every_native_path() -> None:
    names = {name_of(route) for route in ROUTES}
    assert {"POST /api/recognize", "DELETE /api/images/{id}", "POST /api/keys"} <= names
    assert {route.access for route in ROUTES} == {"public", *SCOPES}
    public = {route.path for route in ROUTES if route.access == "public"}
    assert public == {
        "/", "/healthz", "/livez", "/readyz", "/console", "/console/static/{name:path}",
        "/api/session", "/openapi.json",
    }  # fmt: skip


@pytest.mark.parametrize("route", GUARDED, ids=name_of)
def test_a_guarded_route_needs_a_live_key_of_its_scope(keyed: Keyed, route: Route) -> None:
    missing = keyed.call(route, None)
    assert refused(missing, 401)["code"] == "unauthorized"
    assert missing.headers["www-authenticate"].startswith("Bearer")
    for dead in ("revoked", "expired", "forged", "unknown"):
        error = refused(keyed.call(route, keyed.secrets[dead]), 401)
        assert keyed.secrets[dead] not in json.dumps(error)
    for broken in ("x", "sk_", "sk_local_", "a" * 5000):
        refused(keyed.call(route, broken), 401)
    needed = SCOPES.index(route.access)
    if needed:
        below = refused(keyed.call(route, keyed.secrets[SCOPES[needed - 1]]), 403)
        assert f"'{route.access}'" in below["message"]
    allowed = keyed.call(route, keyed.secrets[route.access])
    assert allowed.status_code not in (401, 403), allowed.text
    assert allowed.status_code < 500 or allowed.status_code == 503, allowed.text
    by_header = keyed.call(route, None, **{"x-api-key": keyed.secrets["admin"]})
    assert by_header.status_code not in (401, 403)


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.access == "public"], ids=name_of
)
def test_a_public_route_needs_no_key(keyed: Keyed, route: Route) -> None:
    answer = keyed.call(route, None)
    assert answer.status_code in (200, 204, 307, 400, 404), answer.text


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_a_foreign_host_is_refused_on_every_route(keyed: Keyed, route: Route) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8642"):
        answer = keyed.call(route, keyed.secrets["admin"], host=host)
        assert refused(answer, 403, before_routing=True)["code"] == "forbidden"


def test_the_names_of_this_machine_are_served(keyed: Keyed) -> None:
    for host in ("localhost", "LOCALHOST:1234", "127.0.0.1", "[::1]:8642", "localhost."):
        assert keyed.client.get("/healthz", headers={"host": host}).status_code == 200
    for host in ("", "a b", "local/host", "@", "[::1"):
        refused(keyed.client.get("/healthz", headers={"host": host}), 400, 403)


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.method not in ("GET", "HEAD")], ids=name_of
)
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
def test_a_page_of_another_site_cannot_write(keyed: Keyed, route: Route, origin: str) -> None:
    cookie = f"skerry_session={keyed.secrets['admin']}"
    for headers in ({"cookie": cookie}, {}):
        answer = keyed.call(route, None, origin=origin, **headers)
        assert refused(answer, 403)["code"] == "forbidden"


def test_a_page_of_another_site_cannot_write_to_an_open_node(client: httpx.Client) -> None:
    for path in ("/api/images", "/api/recognize", "/api/keys", "/api/session"):
        answer = client.post(path, content=png(), headers={"origin": "https://evil.example"})
        refused(answer, 403)
    own = str(client.base_url).rstrip("/")
    assert client.post("/api/images", content=png(), headers={"origin": own}).status_code == 201


def test_a_browser_signs_in_with_a_cookie_no_script_can_read(keyed: Keyed) -> None:
    origin = {"origin": keyed.node.url}
    with keyed.node.client() as browser:
        before = browser.get("/api/session").json()
        assert (before["open"], before["signed_in"]) == (False, False)
        refused(browser.post("/api/session", json={"key": "sk_no"}, headers=origin), 401)
        assert not browser.cookies
        wanted = {"key": keyed.secrets["write"]}
        signed = browser.post("/api/session", json=wanted, headers=origin)
        assert signed.status_code == 204
        cookie = signed.headers["set-cookie"]
        for attribute in ("HttpOnly", "SameSite=Strict", "Path=/"):
            assert attribute in cookie
        session = browser.get("/api/session").json()
        assert (session["signed_in"], session["scope"], session["name"]) == (True, "write", "write")
        image = store(browser)
        assert browser.get(f"/api/images/{image['id']}/thumbnail").status_code == 200
        refused(browser.get("/api/keys"), 403)
        refused(browser.delete(f"/api/images/{image['id']}", headers={"origin": "http://x"}), 403)
        browser.delete(f"/api/images/{image['id']}", headers=origin).raise_for_status()
        out = browser.delete("/api/session", headers=origin)
        assert (out.status_code, "Max-Age=0" in out.headers["set-cookie"]) == (204, True)
        refused(browser.get("/api/status"), 401)


def test_a_cookie_of_a_revoked_key_is_worth_nothing(keyed: Keyed) -> None:
    admin = {"authorization": f"Bearer {keyed.secrets['admin']}"}
    name = unique("till")
    made = keyed.client.post("/api/keys", json={"name": name, "scope": "read"}, headers=admin)
    with keyed.node.client() as browser:
        browser.post("/api/session", json={"key": made.json()["secret"]}).raise_for_status()
        assert browser.get("/api/status").status_code == 200
        keyed.client.delete(f"/api/keys/{name}", headers=admin).raise_for_status()
        refused(browser.get("/api/status"), 401)
        assert browser.get("/api/session").json()["signed_in"] is False


def test_keys_are_listed_without_their_secrets_and_stored_hashed(keyed: Keyed) -> None:
    admin = {"authorization": f"Bearer {keyed.secrets['admin']}"}
    listed = keyed.client.get("/api/keys", headers=admin)
    states = {key["name"]: key for key in listed.json()["keys"]}
    assert states["revoked"]["revoked_at"]
    assert states["expired"]["expires_at"]
    assert states["admin"]["last_used_at"]
    files = [keyed.node.data / name for name in ("skerry.db", "skerry.db-wal")]
    stored = b"".join(path.read_bytes() for path in files if path.exists())
    for name in ("admin", "read", "infer", "write"):
        assert keyed.secrets[name] not in listed.text
        assert keyed.secrets[name].encode() not in stored
        assert keyed.secrets[name].rpartition("_")[2].encode() not in stored


def test_no_key_and_no_image_stands_in_the_log(keyed: Keyed) -> None:
    log = keyed.node.log.read_text()
    assert not [secret for secret in keyed.secrets.values() if secret in log]


def test_the_local_key_opens_the_node_to_its_own_user_alone(keyed: Keyed) -> None:
    path = keyed.node.data / "local.key"
    status = path.stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_uid == os.getuid()
    secret = path.read_text().strip()
    assert keyed.client.get("/api/keys", headers={"x-api-key": secret}).status_code == 200


def test_the_local_key_is_new_at_each_start_and_gone_after_the_end(
    fast_node: Any, tmp_path: Path
) -> None:
    first = fast_node()
    old = (first.data / "local.key").read_text()
    assert first.stop() == 0
    assert not (first.data / "local.key").exists()
    second = fast_node()
    assert (second.data / "local.key").read_text() != old


def test_an_expired_key_does_not_open_the_node_again(fast_node: Any) -> None:
    with fast_node().client() as client:
        soon = int(time.time()) + 1
        body = {"name": "short", "scope": "read", "expires_at": soon}
        assert client.post("/api/keys", json=body).status_code == 201
        while time.time() <= soon + 0.1:
            time.sleep(0.05)
        refused(client.get("/api/status"), 401)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_beyond_loopback_a_node_without_keys_refuses_to_start(
    fast_models: Path, tmp_path: Path, host: str
) -> None:
    command = [sys.executable, "-m", "skerry", "up", "--data", tmp_path / "data", "--port", "0"]
    environ = {**os.environ, **ENVIRON, "SKERRY_MODELS": str(fast_models)}
    done = subprocess.run(
        [*command, "--host", host], env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2, done.stderr
    assert "skerry keys create" in done.stderr
    assert "Traceback" not in done.stderr


def test_beyond_loopback_a_node_with_keys_asks_even_this_machine(fast_node: Any) -> None:
    node = fast_node()
    with node.client() as client:
        made = client.post("/api/keys", json={"name": "me", "scope": "admin"})
        secret = made.json()["secret"]
    node.stop()
    # On loopback a revoked last key opens the node; beyond it, never.
    node = fast_node(flags=("--host", "0.0.0.0"), ready=False)
    port = node.url.rpartition(":")[2]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        refused(client.get("/api/status"), 401)
        head = {"authorization": f"Bearer {secret}"}
        assert client.get("/api/status", headers=head).status_code == 200
        assert client.delete("/api/keys/me", headers=head).status_code == 204
        refused(client.get("/api/status"), 401)
