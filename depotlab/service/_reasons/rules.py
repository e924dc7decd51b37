"""What daemons say when a build fails, and what that means to the customer whose source it was: a table.

What the daemon says is written for who runs it. Each row has phrases of the daemon, in small letters, and advice; the
first row of which one phrase stands in the text wins, so what is more specific comes first.

Source of the phrases: moby/buildkit `frontend/dockerfile`, `frontend/dockerui`, `solver/llbsolver`, `source`,
`exporter`, `util/push`; containerd `core/remotes/docker`; for bake's docker/buildx `bake/hclparser`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from depotlab._values import Value
from depotlab.errors import UsageError

__all__ = ["RULES", "Rule"]


@dataclass(frozen=True, slots=True, repr=False)
class Rule(Value):
    """What a customer is told when the daemon says one of some phrases.

    Attributes:
        category: A short name, by which programs know the advice, such as `dockerfile_syntax`.
        patterns: Phrases in small letters; a `*` in one stands for anything on the same line. One of them anywhere in
            the text, whatever its case, is enough.
        message: The advice: what happened, and what to change.

    Raises:
        UsageError: There is no phrase, or one with capitals, which would never be found.
    """

    category: str
    patterns: tuple[str, ...]
    message: str

    def __post_init__(self) -> None:
        phrases = self.patterns
        if isinstance(phrases, str) or not phrases or not all(phrases):
            raise UsageError(
                f"patterns of the rule {self.category!r} are {phrases!r}.",
                hint="give a tuple of phrases, such as ('no space left on device',)",
            )
        if wrong := next((one for one in phrases if one != one.lower()), None):
            raise UsageError(
                f"The pattern {wrong!r} of the rule {self.category!r} has capitals.",
                hint="write it in small letters: texts are compared in small letters",
            )

    def fits(self, text: str) -> bool:
        """Whether one of the phrases stands in a text that is in small letters."""
        return any(_stands(phrase, text) for phrase in self.patterns)


def _stands(phrase: str, text: str) -> bool:
    if "*" not in phrase:
        return phrase in text
    return re.search(".*".join(map(re.escape, phrase.split("*"))), text) is not None


RULES: tuple[Rule, ...] = (
    # The command is part of its text and may say anything, so this is asked before all others.
    Rule(
        "out_of_memory",
        ("exit code: 137", "cannot allocate memory"),
        "A command of the Dockerfile was killed, most often because it needed more memory than the build machine has. "
        "Run fewer things at once in that step.",
    ),
    Rule(
        "command_not_found",
        ("unable to start container process", "executable file not found in $path"),
        "A command of the Dockerfile could not be started: the image does not have that program, or has no shell. "
        "Check the base image, and whether the program is installed before it is used.",
    ),
    Rule(
        "user",
        ("unable to find user", "unable to find group"),
        "The image does not have the user or group that a step runs as. Check the names in USER lines, and whether "
        "they are made before.",
    ),
    Rule(
        "command_failed",
        ("did not complete successfully", "failed to solve: process", "executor failed running"),
        "A command of the Dockerfile failed. The build's log has what it printed.",
    ),
    Rule(
        "disk_full",
        ("no space left on device", "disk quota exceeded"),
        "The build machine's disk is full. Copy less into the image, remove what a step leaves behind in the same "
        "step, and list what the build does not need in .dockerignore.",
    ),
    # ---------------------------------------------------------------- where the source comes from
    Rule(
        "git_ref",
        (
            "repository does not contain ref",
            "couldn't find remote ref",
            "not our ref",
            "cannot obtain needed object",
        ),
        "The branch, tag or commit is not in the repository. It may have been deleted or overwritten: push again, or "
        "choose another one.",
    ),
    Rule(
        "git_folder",
        ("invalid subdir", "git subpath"),
        "The repository has no folder of that name at this commit. Check the root directory in the settings.",
    ),
    Rule(
        "git_access",
        (
            "could not read username",
            "authentication failed for",
            "repository not found",
            "fatal: could not read from remote",
            "failed to fetch remote http",
            "failed to fetch remote git",
            "remote: invalid username or",
        ),
        "The repository could not be read. Check that it still exists and that access to it was granted.",
    ),
    Rule(
        "context",
        ("failed to resolve httpcontext", "failed to read downloaded context"),
        "The uploaded source could not be fetched by the build machine, or was replaced after it was looked at. Upload "
        "it again and start another build.",
    ),
    # Of the uploaded source's own step these are `context`: see `user_error`.
    Rule(
        "download",
        ("invalid response status", 'failed to load cache key: get "http', "digest mismatch"),
        "A file that the Dockerfile downloads cannot be had, or has another checksum. Check the addresses and the "
        "checksums of its ADD lines.",
    ),
    Rule(
        "context_archive",
        ("path escapes from parent", "archive/tar:", "unexpected eof in archive"),
        "The uploaded source could not be unpacked: an entry of it has a name, link or kind that cannot be, or is "
        "damaged. Make the archive again from files, folders and links, with relative paths, without '..'.",
    ),
    # ------------------------------------------------------------------------------ the registries
    Rule(
        "registry_limit",
        ("toomanyrequests", "429 too many requests", "pull rate limit"),
        "A registry refuses more downloads for now. Wait a while, or use an image of another registry.",
    ),
    Rule(
        "platform",
        (
            "no match for platform in manifest",
            "no matching manifest",
            "exec format error",
            "does not match the specified platform",
        ),
        "A base image does not exist for the platform that is built for. Choose an image or a tag that has it.",
    ),
    Rule(
        "image_reference",
        (
            "invalid reference format",
            "failed to parse stage name",
            "should not be blank",
            "repository name must be lowercase",
        ),
        "The name of an image in a FROM line is malformed. If it comes from an ARG, check that the argument has a "
        "value before the first FROM.",
    ),
    Rule(
        "push",
        ("failed to push", "error writing manifest", "failed commit on ref"),
        "The image was built, but the registry did not take it. This is not about your source: start the build again.",
    ),
    # ------------------------------------------------------------------------------ the Dockerfile
    Rule(
        "stages",
        (
            "no build stage in current context",
            "circular dependency detected on stage",
            "invalid circular dependency",
        ),
        "The stages of the Dockerfile do not fit together: an instruction stands before the first FROM, or stages "
        "copy from each other in a circle.",
    ),
    Rule(
        "target",
        ("failed to find target", "target stage"),
        "The Dockerfile has no stage of the chosen name. Check the target in the settings against the names after AS.",
    ),
    Rule(
        "build_arguments",
        (
            "must be of the form: name=value",
            "contains value with non-printable ascii characters",
        ),
        "A variable, label or build argument is malformed. It is NAME=VALUE, without line breaks and other control "
        "characters.",
    ),
    Rule(
        "expression",
        (
            "there is no variable named",
            "the expression result is null",
            "invalid expression",
            "invalid block definition",
            "unsupported modifier",
            "missing ':' in substitution",
        ),
        "An expression with variables cannot be worked out. Check that each variable is declared, by ARG in a "
        "Dockerfile, and how its default is written.",
    ),
    Rule(
        "lint",
        ("linting failed", "lint violation found"),
        "The Dockerfile breaks rules that were asked to be kept. The build's log names the rules.",
    ),
    Rule(
        "dockerfile_syntax",
        (
            "dockerfile parse error on line",
            "unknown instruction",
            "unknown flag:",
            "requires at least one argument",
            "requires exactly",
            "unterminated heredoc",
        ),
        "The Dockerfile has a mistake in how it is written. Check the line that is named for misspelt instructions, "
        "flags and missing arguments.",
    ),
    Rule(
        "dockerfile_path",
        (
            "the dockerfile cannot be empty",
            "file with no instructions",
            "failed to read dockerfile",
        ),
        "There is no Dockerfile where it was looked for, or it is empty. Check its path in the settings, which is "
        "taken from the root directory of the source.",
    ),
    # ----------------------------------------------------------------------------------- the steps
    Rule(
        "secret",
        ("secret *: not found", "no ssh key", "unset ssh forward key"),
        "A step mounts a secret or an SSH key that this build was not given. Check its id in the RUN line.",
    ),
    Rule(
        "not_allowed",
        (
            "security.insecure is not allowed",
            "network.host is not allowed",
            "device is not allowed",
        ),
        "A step asks for a right that builds do not have here: the host's network, its devices, or no protection. "
        "Remove --security, --network and --device from its RUN line.",
    ),
    Rule(
        "missing_file",
        (
            "failed to compute cache key",
            "failed to calculate checksum of ref",
            "where the step copies it from",
            "no such file or directory",
            "no source files were specified",
        ),
        "A file that the Dockerfile copies is not in the source. Check its path, the root directory in the settings, "
        "and whether .dockerignore excludes it.",
    ),
    Rule(
        "export_format",
        ("docker exporter does not currently support", "docker exporter does not support"),
        "The image cannot be written in the chosen format: it has several platforms or attestations.",
    ),
    # --------------------------------------------------------------- an image, when nothing above fits
    Rule(
        "image_not_found",
        ("pull access denied", "manifest unknown", "name unknown"),
        "An image does not exist, or its registry does not show it. Check the names in FROM and --from=, where what is "
        "no stage is taken for an image; a private image needs credentials.",
    ),
    Rule(
        "registry",
        (
            "failed to resolve source metadata",
            "failed to do request",
            "failed to authorize",
            "failed to fetch anonymous token",
            "failed to fetch oauth token",
            "unexpected status",
        ),
        "A registry refused, or did not answer. Check the name of the base image and its credentials, or try again.",
    ),
)
"""What customers are told, the first fitting row first. `BuildService(error_rules=[Rule(...)])` puts rows before it."""
