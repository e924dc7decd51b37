from base64 import b64encode

import pytest

from depotlab._depot.proxies import HttpProxy, find_http_proxy
from depotlab.errors import UsageError

PROXY = HttpProxy("proxy.test", 3128)


def find(environ, host="api.depot.dev", port=443, *, secure=True):
    return find_http_proxy(host, port, secure=secure, environ=environ)


@pytest.mark.parametrize(
    "environ",
    [
        {"HTTPS_PROXY": "http://proxy.test:3128"},
        {"https_proxy": "http://proxy.test:3128"},
        {"HTTPS_PROXY": "proxy.test:3128"},
        {"HTTPS_PROXY": "http://proxy.test:3128", "https_proxy": "http://other:1"},
        {"HTTPS_PROXY": "http://proxy.test:3128/", "NO_PROXY": "other.dev,10.0.0.0/8,depot.devx"},
        {"HTTPS_PROXY": "http://proxy.test:3128", "NO_PROXY": ".api.depot.dev, api.depot.dev:80"},
    ],
)
def test_a_proxy_is_found(environ):
    assert find(environ) == PROXY


@pytest.mark.parametrize(
    ("host", "exceptions"),
    [
        ("api.depot.dev", "*"),
        ("api.depot.dev", "x, depot.dev"),
        ("api.depot.dev", ".depot.dev"),
        ("api.depot.dev", "*.depot.dev"),
        ("api.depot.dev", "API.DEPOT.DEV"),
        ("api.depot.dev", "api.depot.dev:443"),
        ("10.1.2.3", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3"),
        ("localhost", ""),
        ("127.0.0.9", ""),
        ("::1", ""),
    ],
)
def test_who_needs_none_gets_none(host, exceptions):
    assert find({"HTTPS_PROXY": "http://proxy.test:3128", "NO_PROXY": exceptions}, host) is None


def test_http_and_https_have_their_own():
    environ = {"HTTP_PROXY": "http://proxy.test:3128"}
    assert find(environ) is None
    assert find(environ, port=80, secure=False) == PROXY


def test_its_password_is_sent_and_not_shown():
    proxy = find({"HTTPS_PROXY": "http://me:planted%21@proxy.test:3128"})
    assert proxy.authorization == f"Basic {b64encode(b'me:planted!').decode()}"
    assert "planted" not in repr(proxy) + str(proxy)
    assert proxy.authorization not in repr(proxy) + str(proxy)


@pytest.mark.parametrize(
    "value", ["socks5://planted@h:1", "https://planted@h", "http://planted@", "http://planted@h:x"]
)
def test_a_proxy_of_another_kind_is_refused_without_being_shown(value):
    with pytest.raises(UsageError, match="HTTPS_PROXY") as caught:
        find({"HTTPS_PROXY": value})
    assert "planted" not in str(caught.value)
