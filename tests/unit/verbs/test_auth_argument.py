"""`auth=`: what is refused, without showing a password."""

import pytest

from depotlab._session import Credentials
from depotlab._verbs.request import check_auth
from depotlab.errors import UsageError


@pytest.mark.parametrize(
    "given",
    [
        "me:planted",
        [("ghcr.io", "planted")],
        {"": ("me", "planted")},
        {5: ("me", "planted")},
        {"ghcr.io": "planted"},
        {"ghcr.io": ("me", b"planted")},
        {"ghcr.io": ("me", "planted\udcff")},
        {"ghcr.io": Credentials(registry_token="planted\ud800")},
    ],
)
def test_what_is_no_login_is_refused_and_not_shown(given) -> None:
    with pytest.raises(UsageError, match="auth=") as caught:
        check_auth(given)
    assert "planted" not in str(caught.value)


def test_pairs_and_credentials_are_logins() -> None:
    token = Credentials(identity_token="t")
    found = check_auth({"ghcr.io": ("me", "a\0b"), "x.io": token})
    assert found == {"ghcr.io": Credentials("me", "a\0b"), "x.io": token}
    assert check_auth(None) == {}
