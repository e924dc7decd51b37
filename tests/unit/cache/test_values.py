"""Caches as values: their attributes, their words, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from depotlab import cache
from depotlab.errors import ReferenceInvalid, UsageError

SECRET = "planted-s3cr3t"


def exported(one: cache.Cache) -> dict[str, str]:
    ((kind, attrs),) = cache.as_exports(one, environment={}).entries
    assert kind == one.type
    return dict(attrs)


def imported(one: cache.Cache) -> dict[str, str]:
    ((kind, attrs),) = cache.as_imports(one, environment={}).entries
    assert kind == one.type
    return dict(attrs)


def test_a_registry_cache_has_its_options_where_it_is_left_and_its_name_in_both() -> None:
    one = cache.registry(
        "h/app:cache",
        mode="max",
        insecure=True,
        compression="zstd",
        compression_level=22,
        force_compression=True,
        oci_mediatypes=True,
        image_manifest=False,
        ignore_error=True,
    )
    assert exported(one) == {
        "ref": "h/app:cache",
        "registry.insecure": "true",
        "mode": "max",
        "ignore-error": "true",
        "compression": "zstd",
        "compression-level": "22",
        "force-compression": "true",
        "oci-mediatypes": "true",
        "image-manifest": "false",
    }
    assert imported(one) == {"ref": "h/app:cache", "registry.insecure": "true"}


def test_what_is_not_said_is_left_to_the_daemon_but_for_the_mode() -> None:
    assert exported(cache.registry("h/a:c")) == {"ref": "h/a:c", "mode": "min"}
    assert exported(cache.inline()) == {"mode": "min"}
    assert exported(cache.azblob()) == {"mode": "min"}
    assert exported(cache.s3(credentials="daemon")) == {"mode": "min"}
    assert imported(cache.azblob()) == {}


def test_an_s3_cache_has_all_attributes() -> None:
    one = cache.s3(
        "b",
        region="r",
        prefix="p/",
        name=["main", "branch"],
        mode="max",
        endpoint_url="http://h:1",
        use_path_style=True,
        access_key_id="id",
        secret_access_key=SECRET,
        session_token="token",
        manifests_prefix="m/",
        blobs_prefix="o/",
        touch_refresh_s=1.5,
        upload_parallelism=8,
        disable_accept_encoding=True,
        retry_mode="adaptive",
        retry_max_attempts=3,
        ignore_error=True,
    )
    both = {
        "bucket": "b",
        "region": "r",
        "prefix": "p/",
        "name": "main;branch",
        "endpoint_url": "http://h:1",
        "use_path_style": "true",
        "access_key_id": "id",
        "secret_access_key": SECRET,
        "session_token": "token",
        "manifests_prefix": "m/",
        "blobs_prefix": "o/",
        "disable_accept_encoding": "true",
        "retry_mode": "adaptive",
        "retry_max_attempts": "3",
    }
    assert imported(one) == both
    assert exported(one) == {
        **both,
        "touch_refresh": "1.5s",
        "upload_parallelism": "8",
        "mode": "max",
        "ignore-error": "true",
    }


def test_a_github_cache_has_all_attributes() -> None:
    one = cache.gha(
        scope="s",
        mode="max",
        url="https://one",
        url_v2="https://two",
        token="t",
        version=2,
        timeout_s=600,
        github_token="gh",
        repository="o/r",
    )
    both = {
        "scope": "s",
        "url": "https://one",
        "url_v2": "https://two",
        "token": "t",
        "version": "2",
        "timeout": "600s",
        "ghtoken": "gh",
        "repository": "o/r",
    }
    assert imported(one) == both
    assert exported(one) == {**both, "mode": "max"}


def test_an_azure_cache_has_all_attributes() -> None:
    one = cache.azblob(
        "https://me.blob.core.windows.net",
        container="c",
        account_name="me",
        secret_access_key=SECRET,
        prefix="p",
        name="n",
        mode="max",
        manifests_prefix="m",
        blobs_prefix="b",
    )
    both = {
        "account_url": "https://me.blob.core.windows.net",
        "container": "c",
        "account_name": "me",
        "secret_access_key": SECRET,
        "prefix": "p",
        "name": "n",
        "manifests_prefix": "m",
        "blobs_prefix": "b",
    }
    assert imported(one) == both
    assert exported(one) == {**both, "mode": "max"}


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "1s"), (0.25, "0.25s"), (86400, "86400s"), (1e6, "1000000s")]
)
def test_times_are_written_as_go_reads_them(seconds: float, text: str) -> None:
    assert (
        exported(cache.s3("b", credentials="daemon", touch_refresh_s=seconds))["touch_refresh"]
        == text
    )


# ------------------------------------------------------------------------------- never shown


SECRETIVE = [
    cache.s3("b", access_key_id=SECRET, secret_access_key=SECRET, session_token=SECRET),
    cache.gha(token=SECRET, url="http://x", github_token=SECRET, repository="o/r"),
    cache.azblob(f"https://me.blob.core.windows.net/?sig={SECRET}", secret_access_key=SECRET),
    cache.azblob(f"https://me:{SECRET}@blob.core.windows.net"),
]


@pytest.mark.parametrize("one", SECRETIVE, ids=lambda one: one.type)
def test_secrets_are_in_no_text(one: cache.Cache) -> None:
    exports = cache.as_exports(one, environment={})
    imports = cache.as_imports(one, environment={})
    shown = [one, one.label, one.secrets, exports, imports, exports.entries, imports.entries, [one]]
    for text in (f"{thing!r} {thing}" for thing in shown):
        assert SECRET not in text
    with pytest.raises(UsageError) as caught:
        cache.as_exports([one, "x"])  # type: ignore[list-item]
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: cache.s3("b", access_key_id="a", secret_access_key=SECRET + " "),
        lambda: cache.s3("b", secret_access_key=SECRET),
        lambda: cache.gha(token=[SECRET]),  # type: ignore[arg-type]
        lambda: cache.azblob(secret_access_key=f"\n{SECRET}"),
    ],
)
def test_secrets_are_in_no_error(call) -> None:
    with pytest.raises(UsageError) as caught:
        call()
    assert SECRET not in str(caught.value)


def test_values_can_be_compared_kept_in_sets_and_sent_to_other_processes() -> None:
    one, same, other = cache.local("x"), cache.local("x"), cache.local("x", mode="max")
    assert one == same != other
    assert len({one, same, other}) == 2
    for value in (*SECRETIVE, one):
        assert pickle.loads(pickle.dumps(value)) == value


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (cache.registry("h/a:c"), "<cache registry h/a:c, mode=min>"),
        (cache.inline(), "<cache inline, mode=min>"),
        (cache.local("/c", tag="main"), "<cache local /c, tag main, mode=min>"),
        (cache.gha(), "<cache gha scope buildkit, mode=min>"),
        (cache.s3("b", prefix="p"), "<cache s3 b, prefix=p, mode=min>"),
    ],
)
def test_a_value_says_what_it_is(one: cache.Cache, text: str) -> None:
    assert repr(one) == text


def test_a_local_path_is_that_of_the_call(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    one = cache.local("c/../d")
    monkeypatch.chdir("/")
    assert one.host_path == tmp_path / "d"


# ------------------------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("call", "words", "hint"),
    [
        (
            lambda: cache.registry("h/a", mode="maxx"),
            r"mode='maxx'\) is not one of 'min', 'max'",
            "mean 'max'",
        ),
        (lambda: cache.registry("h/a", mode="MAX"), "mode='MAX'", "mean 'max'"),
        (lambda: cache.registry("h/a", mode=""), "mode=''", "leave mode out"),
        (lambda: cache.local("x", compression="gz"), "compression='gz'", "mean 'gzip'"),
        (lambda: cache.local("x", compression_level=10), "from 0 to 9", ""),
        (lambda: cache.local("x", compression="zstd", compression_level=23), "from 0 to 22", ""),
        (
            lambda: cache.local("x", compression="uncompressed", compression_level=1),
            "has no level",
            "leave compression_level out",
        ),
        (
            lambda: cache.registry("h/a", oci_mediatypes=False, image_manifest=True),
            "contradicts itself",
            "",
        ),
        (lambda: cache.registry("h/a", insecure="yes"), "neither True nor False", ""),
        (lambda: cache.registry("h/a", ignore_error=1), "neither True nor False", ""),
        (lambda: cache.local(""), "path of a directory", ""),
        (lambda: cache.local(b"x"), "path of a directory", ""),
        (lambda: cache.local("a\0b"), "path of a directory", ""),
        (lambda: cache.local("x", tag=""), "is not a tag", ""),
        (lambda: cache.local("x", tag="a b"), "is not a tag", ""),
        (lambda: cache.local("x", reset="yes"), "neither True nor False", ""),
        (lambda: cache.gha(version=3), "from 1 to 2", ""),
        (lambda: cache.gha(timeout_s=0), "not a time above zero", "in seconds"),
        (lambda: cache.gha(timeout_s=float("nan")), "not a time above zero", ""),
        (lambda: cache.gha(timeout_s="10m"), "not a time above zero", "in seconds"),
        (lambda: cache.gha(repository="o/r"), "together", ""),
        (lambda: cache.gha(scope="a\nb"), "not a line of text", ""),
        (lambda: cache.s3("b", access_key_id="a"), "together", "those of this machine"),
        (lambda: cache.s3("b", session_token="a"), "together", ""),
        (lambda: cache.s3("b", retry_mode="standart"), "retry_mode", "mean 'standard'"),
        (lambda: cache.s3("b", credentials="demon"), "credentials='demon'", "mean 'daemon'"),
        (lambda: cache.s3("b", credentials="daemon", profile="p"), "sends none", ""),
        (lambda: cache.s3("b", use_path_style=True), "needs endpoint_url", ""),
        (lambda: cache.s3("b", endpoint_url="minio:9000"), "is not a URL", "https://"),
        (lambda: cache.s3("b", upload_parallelism=0), "from 1", ""),
        (lambda: cache.s3("b", name=["a;b"]), "is not a name", ""),
        (lambda: cache.s3("b", profile=1), "name of a profile", ""),
        (lambda: cache.azblob("me.blob.core.windows.net"), "is not a URL", ""),
    ],
)
def test_mistakes_are_raised_in_the_call(call, words: str, hint: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        call()
    assert hint in caught.value.hint


@pytest.mark.parametrize("ref", ["", "https://ghcr.io/a", "a b", "a,b", None])
def test_a_registry_cache_needs_an_image_name(ref) -> None:
    with pytest.raises(ReferenceInvalid, match="not the name of an image"):
        cache.registry(ref)


def test_a_digest_of_a_local_cache_is_checked() -> None:
    with pytest.raises(ReferenceInvalid):
        cache.local("x", digest="sha256:../../x")
