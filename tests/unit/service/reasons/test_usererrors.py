"""From what a daemon says to what a customer is told."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._depot import DeadlineExceeded, ResourceExhausted, TlsFailed, Unavailable
from depotlab._rpc import RpcFailed, Status
from depotlab.errors import (
    BuildCanceled,
    BuildTimeout,
    ConnectionLost,
    ContextRefused,
    DaemonError,
    DepotlabError,
    DockerfileError,
    ImageNotFound,
    RegistryError,
    ServiceError,
    SourceLocation,
    StepFailed,
    StorageError,
    UsageError,
)
from depotlab.service._reasons.usererrors import (
    RULES,
    Rule,
    is_transient,
    last_words,
    scrubbed,
    user_error,
)

# Texts of BuildKit 0.32 and of releases before it; for bake's those of buildx.
TEXTS = {
    "the dockerfile cannot be empty": "dockerfile_path",
    "failed to solve: failed to read dockerfile: open api/Dockerfile: no such file or directory": "dockerfile_path",
    "file with no instructions": "dockerfile_path",
    "failed to find target prod in Dockerfile": "target",
    'target stage "prod" could not be found': "target",
    'failed to compute cache key: failed to calculate checksum of ref a::b: "/x": not found': "missing_file",
    "lstat /mount/app: no such file or directory": "missing_file",
    "dockerfile parse error on line 3: unknown instruction: RUNN (did you mean RUN?)": "dockerfile_syntax",
    "no build stage in current context": "stages",
    "circular dependency detected on stage: a": "stages",
    'failed to parse stage name "Bad:::ref": invalid reference format': "image_reference",
    "base name (${B}) should not be blank": "image_reference",
    "busybox: failed to resolve source metadata for docker.io/library/busybox:latest: "
    "no match for platform in manifest: not found": "platform",
    "no matching manifest for linux/s390x in the manifest list entries": "platform",
    'bake.hcl:3,10-13: Unknown variable; There is no variable named "tag".': "expression",
    "the expression result is null. Cannot include a null value in a string template": "expression",
    "Invalid expression; Expected the start of an expression": "expression",
    "Invalid block definition; Either a quoted string block label": "expression",
    'failed to process "${A:!b}": unsupported modifier (:!) in substitution': "expression",
    "build argument 'x' must be of the form: name=value": "build_arguments",
    'label "x" contains value with non-printable ASCII characters': "build_arguments",
    "docker exporter does not currently support exporting manifest lists": "export_format",
    'failed to solve: process "/bin/sh -c make" did not complete successfully: exit code: 2': "command_failed",
    "executor failed running [/bin/sh -c make]: exit code: 2": "command_failed",
    'process "/bin/sh -c make" did not complete successfully: exit code: 137': "out_of_memory",
    "linting failed": "lint",
    "lint violation found for rules: FromAsCasing": "lint",
    "failed to copy files: write /x: no space left on device": "disk_full",
    "failed to load cache key: repository does not contain ref nope, output: ''": "git_ref",
    "failed to fetch remote http://x/y.git: git stderr:\nCannot obtain needed object 1111": "git_ref",
    'failed to read dockerfile: invalid subdir api: failed to lstat "api"': "git_folder",
    "fatal: could not read Username for 'https://github.com': terminal prompts disabled": "git_access",
    "failed to resolve httpcontext: invalid response status 403": "context",
    "failed to load cache key: invalid response status 404": "download",
    'failed to load cache key: Get "http://x/y": dial tcp: lookup x: no such host': "download",
    "digest mismatch sha256:0: sha256:1": "download",
    'process "/bin/sh -c true" did not complete successfully: unable to find user me: no matching entries': "user",
    "openat ../x: path escapes from parent": "context_archive",
    "toomanyrequests: You have reached your pull rate limit": "registry_limit",
    "failed to push r.io/a:b: unexpected status from PUT request: 503 Service Unavailable": "push",
    "secret tok: not found": "secret",
    'no SSH key "" forwarded from the client': "secret",
    "failed to load LLB: security.insecure is not allowed": "not_allowed",
    "pull access denied, repository does not exist or may require authorization": "image_not_found",
    "failed to authorize: failed to fetch anonymous token": "registry",
    "something nobody has seen": "unknown",
}


@pytest.mark.parametrize(("text", "category"), TEXTS.items(), ids=[text[:50] for text in TEXTS])
def test_a_text_of_the_daemon_has_a_category(text: str, category: str) -> None:
    told = user_error(text)
    assert told.category == category
    assert told.raw == text
    assert user_error(text.upper()).category == category


def test_every_rule_is_there_for_a_text() -> None:
    assert {rule.category for rule in RULES} == set(TEXTS.values()) - {"unknown"} | {
        "command_not_found"
    }


def test_every_phrase_of_the_table_is_found_by_its_own_rule() -> None:
    for rule in RULES:
        for phrase in rule.patterns:
            assert user_error(f"x {phrase.replace('*', 'y')} z").category == rule.category, phrase


def test_messages_are_sentences_for_customers() -> None:
    for rule in RULES:
        assert rule.message[0].isupper()
        assert rule.message.endswith(".")
        assert "buildkit" not in rule.message.lower()


def step(exit_code: int) -> StepFailed:
    return StepFailed("failed", step="RUN cat 'no such file or directory'", exit_code=exit_code)


@pytest.mark.parametrize(
    ("error", "category", "said"),
    [
        pytest.param(step(2), "command_failed", "exit code 2", id="a step"),
        pytest.param(step(127), "command_not_found", "no such program", id="a program that is not there"),
        pytest.param(step(137), "out_of_memory", "more memory", id="a step that was killed"),
        pytest.param(
            ImageNotFound("no", ref="acme/base:9"), "image_not_found", "acme/base:9", id="an image"
        ),
        pytest.param(
            ContextRefused("It is empty.", reason="not_an_archive", hint="upload it"),
            "context", "It is empty. Upload it.", id="a context",
        ),
        pytest.param(BuildTimeout("slow", timeout_s=60), "timeout", "60 s", id="a time limit"),
        pytest.param(BuildCanceled("cancelled"), "canceled", "cancelled", id="cancelled"),
        pytest.param(ConnectionLost("gone"), "machine_lost", "not about your source", id="a machine"),
        pytest.param(StorageError("down", is_transient=True), "storage", "store", id="the store"),
        pytest.param(Unavailable("down"), "machine", "machine", id="Depot"),
        pytest.param(ServiceError("No.", code="not_found"), "request", "No.", id="a request"),
        pytest.param(
            DockerfileError("Odd words", locations=(SourceLocation("Dockerfile", 3, 3),)),
            "dockerfile", "(Dockerfile, line 3)", id="a Dockerfile with an unknown fault",
        ),
        pytest.param(
            DockerfileError(
                "Dockerfile parse error on line 3: odd", locations=(SourceLocation("api/D", 3, 3),)
            ),
            "dockerfile_syntax", "(api/D, line 3)", id="a Dockerfile with a known fault",
        ),
        pytest.param(RegistryError("It said no"), "registry", "registry", id="a registry"),
        pytest.param(DaemonError("odd"), "unknown", "log", id="a daemon's unknown words"),
        pytest.param(KeyError("x"), "internal", "not about your source", id="a mistake of ours"),
        pytest.param(UsageError("wrong setting"), "internal", "not about", id="a wrong setting"),
    ],
)  # fmt: skip
def test_an_error_with_a_type_says_more(error: BaseException, category: str, said: str) -> None:
    told = user_error(error)
    assert (told.category, said in told.message) == (category, True), told


def test_the_daemon_s_own_words_are_kept_and_looked_at() -> None:
    error = DaemonError("There is no /x where the step copies it from.")
    words = 'failed to compute cache key: "/x": not found'
    error.__cause__ = RpcFailed(Status.UNKNOWN, words)
    assert (user_error(error).category, user_error(error).raw) == ("missing_file", words)
    assert user_error(DaemonError(error.message)).category == "missing_file"


def test_a_command_may_be_called_anything() -> None:
    text = 'process "/bin/sh -c echo no such file or directory" did not complete successfully: exit code: 1'
    assert user_error(text).category == "command_failed"
    assert user_error(step(1)).category == "command_failed"


def test_a_program_that_the_runtime_cannot_start_is_not_there() -> None:
    tail = ("runc run failed: unable to start container process: exec: /bin/sh: no such file",)
    told = user_error(StepFailed("x", step="RUN true", exit_code=1, log_tail=tail))
    assert told.category == "command_not_found"
    assert "has no shell" in told.message


def test_an_image_without_the_platform_is_there() -> None:
    words = "x/y:1: failed to resolve source metadata for x/y:1: no match for platform in manifest: not found"
    assert user_error(ImageNotFound(words, ref="x/y:1")).category == "platform"


def test_a_program_for_another_processor_is_no_failure_of_its_own() -> None:
    tail = ("a line", "exec /app: exec format error")
    told = user_error(StepFailed("x", step="RUN /app", exit_code=1, log_tail=tail))
    assert told.category == "platform"
    assert "processor" in told.message


def test_the_uploaded_source_and_a_download_are_two_things() -> None:
    error = DaemonError("failed to load cache key: invalid response status 404")
    assert user_error(error).category == "download"
    assert user_error(error, failed="fetch").category == "context"
    unpacking = DaemonError("failed to read dockerfile: link /nope /x: no such file or directory")
    assert user_error(unpacking).category == "dockerfile_path"
    assert user_error(unpacking, failed="unpack").category == "context_archive"
    assert user_error(DaemonError("odd words"), failed="unpack").category == "context_archive"
    full = DaemonError("failed to read dockerfile: write /x: no space left on device")
    assert user_error(full, failed="unpack").category == "disk_full"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(
            DockerfileError("invalid port: abc", locations=(SourceLocation("Dockerfile", 3, 3),)),
            "invalid port: abc (Dockerfile, line 3)", id="a Dockerfile",
        ),
        pytest.param(ImageNotFound("x: not found", ref="x"), "x: not found", id="an image"),
        pytest.param(DaemonError("odd words"), "odd words", id="words that nobody knows"),
        pytest.param(step(2), "", id="a step, which has printed why"),
        pytest.param(RegistryError("failed to push r.internal/x: EOF"), "", id="our registry"),
        pytest.param(StorageError("down", is_transient=True), "", id="the store"),
        pytest.param(Unavailable("down"), "", id="Depot"),
        pytest.param(KeyError("x"), "", id="a mistake of ours"),
    ],
)  # fmt: skip
def test_a_log_ends_with_what_no_step_has_printed(error: Exception, words: str) -> None:
    assert last_words(error, user_error(error)) == words


def test_rules_of_the_platform_come_first() -> None:
    own = (Rule("npm", ("npm err! code *resolve",), "Fix package.json."),)
    assert user_error("x NPM ERR! code ERESOLVE y", extra=own).category == "npm"
    assert user_error("npm err! code\nresolve", extra=own).category == "unknown"
    printed = StepFailed("x", step="npm ci", exit_code=1, log_tail=("npm ERR! code ERESOLVE",))
    assert user_error(printed, extra=own).category == "npm"


@pytest.mark.parametrize(
    "patterns",
    [
        pytest.param("abc", id="a text in place of a tuple"),
        pytest.param((), id="none"),
        pytest.param(("",), id="an empty one"),
        pytest.param(("No space",), id="capitals"),
    ],
)
def test_a_rule_that_would_never_or_always_fit_is_refused(patterns: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="own"):
        Rule("own", patterns, "…")


def test_a_rule_shows_itself_on_one_line() -> None:
    assert repr(Rule("a", ("b",), "C.")) == "Rule(category='a', patterns=('b',), message='C.')"


# ------------------------------------------------------------------------------------- secrets


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('Get "https://s3.x/b/k.tar.gz?X-Amz-Signature={}": EOF', id="a signature"),
        pytest.param("https://me:{}@github.com/a/b.git failed", id="a password in an address"),
        pytest.param("https://{}@github.com/a/b.git failed", id="a token in an address"),
        pytest.param("Authorization: Bearer {}", id="a bearer token"),
        pytest.param("authorization: basic {}", id="a login in a header"),
        pytest.param("login x-token:{} refused", id="a login of Depot's registry"),
        pytest.param("DEPOT_TOKEN={} make", id="a variable"),
        pytest.param('env="DEPOT_TOKEN={}"', id="a variable in an argument"),
        pytest.param('{{"password": "{}"}}', id="JSON"),
        pytest.param("--build-arg npm_token='{}'", id="an argument"),
        pytest.param("key ghp_{} is bad", id="a token of a forge"),
        pytest.param("key depot_org_{} is bad", id="a token of Depot"),
        pytest.param("https://me:p@{}@github.com/a/b.git failed", id="an @ in a password"),
        pytest.param("got eyJhbGciOiJSUzI1NiJ9.eyJ{}.c2ln back", id="a JSON Web Token"),
        pytest.param('PASSWORD="two words {}" make', id="a value with blanks"),
        pytest.param("PASSWORD='a,b;{}' make", id="a value with signs"),
        pytest.param(r'process "sh -c PASSWORD=\"{}\"" failed', id="a quoted command"),
        pytest.param(r'process "sh -c PASSWORD=\"two {}\"" failed', id="blanks, and quoted"),
        pytest.param(r"The step 'sh -c \'TOKEN=\'{}'", id="quotes of the other kind"),
        pytest.param(r'said "{{\"token\":\"{}\"}}"', id="a quoted answer"),
        pytest.param(r'{{"token": "a\"{}"}}', id="JSON with a quote in the value"),
        pytest.param("mysql --password {} -e x", id="an option"),
        pytest.param(r"curl -H \"X-Api-Key: {}\" https://x", id="a header"),
    ],
)
def test_what_lets_somebody_in_is_not_kept(text: str) -> None:
    secret = "aB3dE6gH9jK2mN5pQ8sT"
    assert secret not in user_error(text.format(secret)).raw
    assert secret not in user_error(DaemonError(text.format(secret))).raw


@pytest.mark.parametrize(
    "text",
    [
        "docker-image://busybox@sha256:0123 not found",
        "no basic auth credentials",
        'failed to fetch anonymous token: Get "https://auth.x/token": EOF',
        "secret env: not found",
        "RUN make -j4 VERSION=1.2",
        "docker.io/acme/token-service:1.2: not found",
        "docker.io/acme/api-token: not found",
        "RUN --mount=type=secret,id=npmrc,required true",
        r'process "/bin/sh -c VERSION=\"1 2\" make --jobs 4" did not complete',
    ],
)
def test_what_helps_is_kept(text: str) -> None:
    assert scrubbed(text) == text


def test_a_signature_in_a_message_of_ours_is_covered() -> None:
    error = ImageNotFound("no", ref="https://x/y?sig=aB3dE6gH9jK2")
    assert "aB3d" not in user_error(error).message


@given(st.text())
def test_any_text_is_told_in_bounded_words(text: str) -> None:
    told = user_error(text)
    assert told.category
    assert told.message


@pytest.mark.parametrize(
    "text", ["x" * 100_000, "token" * 20_000, "https://" + "a" * 100_000, "=" * 100_000]
)
def test_a_long_text_is_cut_in_the_middle(text: str) -> None:
    raw = user_error(f"begin {text} end").raw
    assert len(raw) <= 4000
    assert raw.startswith("begin")
    assert raw.endswith("end")


# ---------------------------------------------------------------------------- whether to try again


@pytest.mark.parametrize(
    "error",
    [
        pytest.param("failed to push r.io/a: 500 Internal Server Error", id="500"),
        pytest.param("unexpected status: 502 Bad Gateway", id="502"),
        pytest.param("unexpected status: 503 Service Unavailable", id="503"),
        pytest.param("unexpected status: 504 Gateway Timeout", id="504"),
        pytest.param("failed to load cache key: invalid response status 503", id="the store"),
        pytest.param("fatal: ... The requested URL returned error: 503", id="the host of git"),
        pytest.param("context canceled", id="a cancelled call"),
        pytest.param("context deadline exceeded", id="a deadline"),
        pytest.param(RegistryError("read: connection reset by peer"), id="a broken connection"),
        pytest.param(StorageError("x", is_transient=True), id="a store that is down"),
        pytest.param(ConnectionLost("x"), id="a lost machine"),
        pytest.param(Unavailable("x"), id="Depot is down"),
        pytest.param(DeadlineExceeded("x"), id="Depot is slow"),
        pytest.param(ResourceExhausted("x", retry_after_s=3), id="too many calls"),
        pytest.param(BuildCanceled("x"), id="cancelled by others"),
        pytest.param(asyncio.CancelledError(), id="a cancellation"),
        pytest.param(TimeoutError(), id="a time-out"),
        pytest.param(ConnectionResetError(), id="a socket"),
    ],
)
def test_what_may_pass_is_tried_again(error: BaseException | str) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(step(1), id="a step"),
        pytest.param(
            'process "curl" did not complete successfully: exit code: 1: 503 Service Unavailable',
            id="a step that says so",
        ),
        pytest.param(DockerfileError("context deadline exceeded"), id="a Dockerfile"),
        pytest.param(ImageNotFound("x", ref="y"), id="an image"),
        pytest.param(ContextRefused("x", reason="missing"), id="a context"),
        pytest.param(BuildTimeout("x", timeout_s=1), id="the limit of a build"),
        pytest.param(StorageError("x", is_transient=False), id="wrong keys of a store"),
        pytest.param(TlsFailed("x"), id="a certificate"),
        pytest.param(ResourceExhausted("x"), id="a quota"),
        pytest.param(DaemonError("invalid reference format"), id="any other words"),
        pytest.param(DepotlabError("x"), id="an error of ours"),
        pytest.param(KeyError("x"), id="a mistake of ours"),
    ],
)
def test_what_stays_is_not_tried_again(error: BaseException | str) -> None:
    assert not is_transient(error)
