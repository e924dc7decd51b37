"""A conversation in plain words: who asked whom for what, build by build."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from depotlab._values import bytes_text, cut
from depotlab._wire.values import Exchanges, RegistryTalk, WireExchange, time_span

__all__ = ["story_of"]

_MOST_ASKED = 12


def story_of(exchanges: Exchanges, registries: Sequence[RegistryTalk]) -> str:
    """Return the conversation as sentences, one on a line."""
    if not exchanges:
        return "Nobody asked anybody for anything."
    lines: list[str] = []
    waiting: list[WireExchange] = []  # what belongs to no build, and is told before the next one
    by_number = {one.number: one for one in exchanges}
    for one in exchanges:
        top = one
        while top.parent is not None:
            top = by_number[top.parent]
        if _is_solve(one):
            lines += _others(waiting)
            waiting = []
            lines += _build(one, exchanges)
        elif not _is_solve(top):
            waiting.append(one)
    lines += _others(waiting)
    for talk in registries:
        size = f": {bytes_text(talk.size_bytes)} of layers" if talk.size_bytes else ""
        lines.append(f"{_REGISTRY_VERBS[talk.what].format(talk.ref, talk.host)}{size}.")
    return "\n".join(lines)


_FRONTENDS = {
    "own frontend": "a build whose frontend is this program",
    "own frontend, unrecorded": "a build whose frontend is this program, and which leaves no record",
}
_REGISTRY_VERBS = {
    "resolve": "The daemon looked {} up at {}",
    "pull": "The daemon pulled {} from {}",
    "push": "The daemon pushed {} to {}",
}


def _is_solve(one: WireExchange) -> bool:
    return one.name == "Control.Solve"


def _build(solve: WireExchange, exchanges: Exchanges) -> Iterator[str]:
    ours = exchanges.of(solve)
    if any(one.method == "Ping" for one in ours):
        yield f"You asked the daemon what it can do, by a Solve that builds nothing; it {_ended(solve)}."
        return
    what = _FRONTENDS.get(solve.subject, f"a build with the frontend {solve.subject}")
    yield f"You asked the daemon to solve {what} ({bytes_text(solve.sent_bytes)})."
    asked: list[WireExchange] = []
    for session in ours:
        if session.method == "Session":
            yield f"You opened a session over which it may ask you back{_offers(session)}."
            asked += exchanges.of(session)
    yield from _grouped([one for one in ours if one.service.endswith(".LLBBridge")], _gateway)
    questions = [one for one in asked if one.method != "Check"]
    yield from _grouped(questions, _question)
    n_health = len(asked) - len(questions)
    if n_health:
        times = "once" if n_health == 1 else f"{n_health} times"
        yield f"It asked {times} whether you are still there."
    for status in ours:
        if status.method == "Status":
            n = status.counts.get("StatusResponse", 0)
            words = f"{n} message{'' if n == 1 else 's'}"
            yield f"It told you what happens in {words} ({bytes_text(status.received_bytes)})."
    yield f"The build {_ended(solve)}."


def _offers(session: WireExchange) -> str:
    methods = session.headers.get("x-docker-expose-session-grpc-method", ())
    names = sorted({method.split("/")[1].rpartition(".")[2] for method in methods if "/" in method})
    return f", for {', '.join(names)}" if names else ""


def _ended(one: WireExchange) -> str:
    if one.duration_s is None:
        return "still goes on"
    after = f"after {time_span(one.duration_s)}"
    if one.status == "OK":
        return f"ended {after}"
    return f"ended with {one.status} {after}: {cut(one.status_text, 160)}".removesuffix(": ")


def _grouped(
    exchanges: Sequence[WireExchange], say: Callable[[Sequence[WireExchange]], str]
) -> Iterator[str]:
    """Yield a sentence for each kind of call; those that are alike are told together."""
    groups: dict[tuple[str, str, str], list[WireExchange]] = {}
    for one in exchanges:
        subject = (
            "" if one.service.endswith(".Content") else one.subject
        )  # blobs say little one by one
        groups.setdefault((one.name, subject, one.status), []).append(one)
    sentences = list(groups.values())
    for group in sentences[:_MOST_ASKED]:
        last = group[-1]
        times = f" ({len(group)} times)" if len(group) > 1 else ""
        failed = last.status not in ("", "OK", "CANCELLED")
        why = f", which ended with {last.status}: {cut(last.status_text, 120)}" if failed else ""
        yield f"{say(group)}{times}{why.removesuffix(': ')}."
    rest = sum(len(group) for group in sentences[_MOST_ASKED:])
    if rest:
        yield f"And so on, {rest} calls more."


def _gateway(group: Sequence[WireExchange]) -> str:
    """Say what we asked the gateway for, as the frontend of a build."""
    one = group[0]
    about = f" {one.subject}" if one.subject else ""
    return f"As its frontend you called {one.method}{about}"


def _question(group: Sequence[WireExchange]) -> str:
    """Say what the daemon asked us for, over the session."""
    one, all_of_it = group[0], Exchanges(group)
    sent, received = bytes_text(all_of_it.sent_bytes), bytes_text(all_of_it.received_bytes)
    counts = all_of_it.counts
    match one.name:
        case "FileSync.DiffCopy":
            n_listed = max(counts.get("STAT", 0) - len(group), 0)  # one ends each list
            n_wanted = counts.get("REQ", 0)
            return (
                f"It asked you for the directory {one.subject!r}: you listed {n_listed} "
                f"{'entry' if n_listed == 1 else 'entries'}, it wanted {n_wanted} of the files, you sent {sent} in all"
            )
        case "FileSend.DiffCopy":
            return f"It sent you {one.subject}: {received}"
        case "Secrets.GetSecret":
            return (
                f"It asked you for {f'the secret {one.subject!r}' if one.subject else 'a secret'}"
            )
        case "Auth.Credentials":
            return f"It asked you for your login at {one.subject}"
        case "Auth.FetchToken":
            return f"It asked you to fetch an access token for {one.subject}"
        case "Auth.GetTokenAuthority" | "Auth.VerifyTokenAuthority":
            return f"It asked you to prove who you are for {one.subject}"
        case "SSH.CheckAgent":
            return f"It asked you whether there is an SSH agent {one.subject or 'default'!r}"
        case "SSH.ForwardAgent":
            return f"A step used your SSH agent {one.subject or 'default'!r}"
        case "Upload.Pull":
            return f"It pulled an upload from you: {sent}"
        case "Content.Read":
            return f"It read from your image layout: {sent}"
        case "Content.Write":
            return f"It wrote into your image layout: {received}"
    return f"It called {one.name} {one.subject}".rstrip()


def _others(exchanges: Sequence[WireExchange]) -> Iterator[str]:
    """Tell what belongs to no build of this conversation."""
    client = [one for one in exchanges if one.asker == "client"]
    daemon = [one for one in exchanges if one.asker == "daemon"]
    yield from _grouped(client, _call)
    yield from _grouped(daemon, _question)


def _call(group: Sequence[WireExchange]) -> str:
    one = group[0]
    whom = "Depot's API" if one.service.startswith("depot.") else "the daemon"
    about = f" {one.subject}" if one.subject else ""
    return f"You asked {whom}: {one.name}{about}"
