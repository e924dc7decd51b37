import pytest

from depotlab._verbs.graphs import parse_platforms
from depotlab.errors import UsageError


def test_platforms_are_kept_as_given_and_in_order():
    assert [str(one) for one in parse_platforms(["linux/arm64", "linux/amd64"])] == [
        "linux/arm64",
        "linux/amd64",
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("linux/arm64", "linux/arm64"),
        ("linux/arm64", "linux/arm64/v8"),
        ("linux/arm/v7", "linux/arm"),
    ],
)
def test_two_names_of_one_platform_are_refused(first, second):
    with pytest.raises(UsageError, match=f"has {second} and {first}, which are the same"):
        parse_platforms([first, second])
