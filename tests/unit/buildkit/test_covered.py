"""What may be a secret is covered before anything shows it."""

import json

import pytest

from depotlab.buildkit.covered import COVER, covered, covered_value, looks_secret


@pytest.mark.parametrize(
    "name",
    ["TOKEN", "NPM_TOKEN", "github-token", "DB_PASSWORD", "SECRET", "AWS_ACCESS_KEY_ID", "API_KEY"],
)
def test_a_name_that_says_secret_is_believed(name):
    assert looks_secret(name)


@pytest.mark.parametrize("name", ["VERSION", "KEYBOARD", "AUTHOR", "PATH", "TOKENIZER"])
def test_a_name_that_only_sounds_alike_is_not(name):
    assert not looks_secret(name)


def test_build_arguments_keep_their_values_unless_they_are_secrets():
    attrs = {
        "build-arg:V": "1",
        "build-arg:NPM_TOKEN": "s3cret",
        "context": "https://me:pw@h/a.git",
    }
    found = covered(attrs)
    assert found["build-arg:V"] == "1"
    assert found["build-arg:NPM_TOKEN"] == COVER
    assert found["context"] == f"https://{COVER}@h/a.git"


def test_of_the_settings_of_a_cache_only_the_harmless_are_shown():
    given = [
        {"Type": "gha", "Attrs": {"scope": "main", "token": "s3cret", "url": "https://x/s3cret"}}
    ]
    (entry,) = json.loads(covered({"cache-imports": json.dumps(given)})["cache-imports"])
    assert entry == {"Type": "gha", "Attrs": {"scope": "main", "token": COVER, "url": COVER}}


@pytest.mark.parametrize("value", ["no json, s3cret", '["s3cret"]', "1"])
def test_settings_of_caches_that_cannot_be_read_are_covered_whole(value):
    assert covered({"cache-imports": value}) == {"cache-imports": COVER}


def test_an_empty_secret_is_shown_to_be_empty():
    assert covered_value("TOKEN", "") == ""
