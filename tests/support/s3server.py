"""A real S3-compatible server on loopback, that checks signatures: moto, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.ports import held_port

REGION = "us-east-1"  # the one in which a bucket can be made without saying where
_SETUP_CALLS = 4
_POLICY = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}


@dataclass(frozen=True)
class Bucket:
    """A bucket, and the only user that may do something with it."""

    endpoint_url: str
    name: str
    access_key_id: str
    secret_access_key: str

    def keys(self) -> list[str]:
        """Return the names of all objects; asked of the server's own back door."""
        _request(f"{self.endpoint_url}/moto-api/reset-auth", data=b"1")
        listing = ET.fromstring(
            _request(f"{self.endpoint_url}/{self.name}?list-type=2", service="s3")
        )
        found = [e.text or "" for e in listing.iter() if e.tag.rpartition("}")[2] == "Key"]
        return sorted(found)


@contextlib.contextmanager
def s3_server(bucket: str) -> Iterator[Bucket]:
    """Run the server for as long as a block lasts."""
    held = held_port()
    port = held.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        # After so many calls it wants signatures, of users that the calls have made.
        env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": str(_SETUP_CALLS)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield _set_up(f"http://127.0.0.1:{port}", bucket)
    finally:
        server.terminate()
        server.wait(30)
        held.close()


def _set_up(url: str, bucket: str) -> Bucket:
    _wait_until_it_answers(url)
    _iam(url, "CreateUser", UserName="cache")
    key = _iam(url, "CreateAccessKey", UserName="cache")
    policy = json.dumps({"Version": "2012-10-17", "Statement": [_POLICY]})
    _iam(url, "PutUserPolicy", UserName="cache", PolicyName="all", PolicyDocument=policy)
    _request(f"{url}/{bucket}", service="s3", method="PUT")
    fields = {e.tag.rpartition("}")[2]: e.text or "" for e in key.iter()}
    return Bucket(url, bucket, fields["AccessKeyId"], fields["SecretAccessKey"])


def _wait_until_it_answers(url: str) -> None:
    deadline_s = time.monotonic() + 60
    while True:
        try:
            _request(f"{url}/moto-api/data.json")
            return
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.1)


def _iam(url: str, action: str, **fields: str) -> ET.Element:
    form = urllib.parse.urlencode({"Action": action, "Version": "2010-05-08", **fields})
    return ET.fromstring(_request(url, service="iam", data=form.encode()))


def _request(
    url: str, *, service: str = "", data: bytes | None = None, method: str | None = None
) -> bytes:
    headers = {"Content-Type": "text/plain"}
    if service == "iam":
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    if service:  # by which the server knows whom the call is for
        scope = f"x/20200101/{REGION}/{service}/aws4_request"
        headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=, Signature="
        )
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()
