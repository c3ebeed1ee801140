import pytest

from skerry.auth.hosts import check_host, check_origin, host_rules, is_loopback
from skerry.errors import BadRequest, Forbidden

LOOPBACK = host_rules("127.0.0.1", ["shop.example", "*.till.example"])
EVERYWHERE = host_rules("0.0.0.0")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8642", "localhost", "LOCALHOST.:1", "[::1]:8642", "127.8.9.1", "shop.example:443",
     "a.till.example", "b.a.till.example"],
)  # fmt: skip
def test_names_of_this_node_pass(host):
    check_host(host, LOOPBACK)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8642", "192.168.1.5",
     "till.example", "evilshop.example", "xn--lcalhost-t8a", "0x7f000001", "[::ffff:8.8.8.8]"],
)  # fmt: skip
def test_foreign_name_is_refused_with_a_remedy(host):
    with pytest.raises(Forbidden) as caught:
        check_host(host, LOOPBACK)
    assert "allowed_hosts" in caught.value.remedy


@pytest.mark.parametrize("host", [None, "", "a b", "a/b", "user@localhost", "localhost:x", "[::1"])
def test_host_that_is_missing_or_malformed_is_a_bad_request(host):
    with pytest.raises(BadRequest):
        check_host(host, LOOPBACK)


def test_node_on_all_addresses_takes_any_address_but_no_foreign_name():
    for host in ("192.168.1.5:8642", "[fe80::1]:8642", "localhost"):
        check_host(host, EVERYWHERE)
    with pytest.raises(Forbidden):
        check_host("evil.example", EVERYWHERE)


def test_star_takes_every_name():
    check_host("whatever.example", host_rules("127.0.0.1", ["*"]))


def test_bound_name_is_its_own():
    check_host("node.lan:8642", host_rules("node.lan"))


@pytest.mark.parametrize(
    "bind, expected",
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("127.9.9.9", True),
     ("0.0.0.0", False), ("::", False), ("192.168.1.5", False), ("node.lan", False), ("", False)],
)  # fmt: skip
def test_loopback_is_told_from_the_rest(bind, expected):
    assert is_loopback(bind) is expected


@pytest.mark.parametrize(
    "origin, host",
    [("http://127.0.0.1:8642", "127.0.0.1:8642"), ("http://Localhost", "localhost:80"),
     ("https://shop.example", "shop.example"), ("http://[::1]:8642", "[::1]:8642"),
     (None, "localhost"), ("", "localhost")],
)  # fmt: skip
def test_own_page_and_programs_may_write(origin, host):
    check_origin(origin, host=host, method="POST")


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:8642",
     "http://127.0.0.1", "file://", "http://127.0.0.1:8642@evil.example", "http://[", "garbage"],
)  # fmt: skip
def test_foreign_page_may_not_write_but_may_read(origin):
    check_origin(origin, host="127.0.0.1:8642", method="GET")
    for method in ("POST", "PATCH", "DELETE", "PUT", "NEW"):
        with pytest.raises(Forbidden):
            check_origin(origin, host="127.0.0.1:8642", method=method)
