"""Which proxy leads to a daemon, by the variables that grpcio reads."""

import pytest

from depotlab._rpc.proxy import Proxy, find_proxy


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({"http_proxy": ""}, None, id="an empty one is none"),
        pytest.param({"http_proxy": "http://p:3128"}, Proxy("p", 3128), id="http_proxy"),
        pytest.param({"http_proxy": "p:3128"}, Proxy("p", 3128), id="without a scheme"),
        pytest.param({"http_proxy": "http://p"}, Proxy("p", 80), id="without a port"),
        pytest.param(
            {"grpc_proxy": "http://a:1", "https_proxy": "http://b:2", "http_proxy": "http://c:3"},
            Proxy("a", 1),
            id="grpc_proxy wins",
        ),
        pytest.param(
            {"https_proxy": "http://b:2", "http_proxy": "http://c:3"},
            Proxy("b", 2),
            id="then https",
        ),
        pytest.param({"http_proxy": "socks5://p:1"}, None, id="not of another kind"),
        pytest.param(
            {"http_proxy": "http://me:p%40ss@p:1"}, Proxy("p", 1, "me:p@ss"), id="credentials"
        ),
    ],
)
def test_find_proxy(environ, expected):
    assert find_proxy("builder.example.com", environ) == expected


@pytest.mark.parametrize(
    ("exceptions", "host", "excepted"),
    [
        ("example.com", "builder.example.com", True),
        (".example.com", "builder.example.com", True),
        (" other , EXAMPLE.com ", "builder.example.com", True),
        ("example.org", "builder.example.com", False),
        (",,", "builder.example.com", False),
        ("10.0.0.0/8", "10.2.3.4", True),
        ("10.2.3.4", "10.2.3.4", True),
        ("10.0.0.0/8", "11.2.3.4", False),
        ("fd00::/8", "fd12::1", True),
        ("10.0.0.0/8", "builder.example.com", False),
    ],
)
def test_hosts_that_need_none(exceptions, host, excepted):
    for name in ("no_proxy", "no_grpc_proxy"):
        found = find_proxy(host, {"http_proxy": "http://p:1", name: exceptions})
        assert (found is None) is excepted


def test_the_password_of_a_proxy_is_not_shown():
    found = find_proxy("h", {"http_proxy": "http://me:planted-secret@p:1"})
    assert "planted-secret" not in repr(found)
