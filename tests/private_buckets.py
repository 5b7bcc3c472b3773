"""Private buckets: moto, which verifies signatures and policies, and a GCS stand-in that wants a token."""

import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
from anyio.abc import ByteStream
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from faulty_bucket import FaultyBucket
from handler_server import serving
from moto.server import ThreadedMotoServer
from unkind_server import http as response

POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:*", "sts:*"], "Resource": "*"}],
}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}],
}
NO_AWS = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    "AWS_CONFIG_FILE": "/nonexistent",
}


@dataclass(frozen=True)
class PrivateS3:
    """A server that answers only requests that an allowed user has signed.

    Attributes:
        endpoint: Its address.
        keys: The credentials of a user who may read, as environment variables.
        role_name: A role that the user may assume.
    """

    endpoint: str
    keys: Mapping[str, str]
    role_name: str

    @contextmanager
    def role(self) -> Iterator[tuple[dict[str, str], list[str]]]:
        """A container's role whose session tokens expire at once: its variables, and the tokens given out."""
        sts = boto3.client(
            "sts", endpoint_url=self.endpoint, region_name="us-east-1", **_client_keys(self.keys)
        )
        given: list[str] = []

        def credentials(_: BaseHTTPRequestHandler) -> dict[str, str]:
            role = f"arn:aws:iam::123456789012:role/{self.role_name}"
            found = sts.assume_role(RoleArn=role, RoleSessionName="crawl")["Credentials"]
            given.append(found["SessionToken"])
            return {
                "AccessKeyId": found["AccessKeyId"],
                "SecretAccessKey": found["SecretAccessKey"],
                "Token": found["SessionToken"],
                "Expiration": (datetime.now(UTC) + timedelta(seconds=30)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }

        with serving_json(credentials) as address:
            yield {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{address}/role"}, given


def _client_keys(keys: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in keys.items()}


@contextmanager
def private_s3(objects: Mapping[str, bytes]) -> Iterator[PrivateS3]:
    """Serve a private bucket `hospital`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    anyone: dict[str, Any] = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    anyone |= {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    iam, s3 = boto3.client("iam", **anyone), boto3.client("s3", **anyone)

    def own(of: str) -> str:
        return f"{of}-{port}"  # all servers of a process share their users

    iam.create_user(UserName=own("curator"))
    iam.put_user_policy(UserName=own("curator"), PolicyName="all", PolicyDocument=json.dumps(POLICY))
    key = iam.create_access_key(UserName=own("curator"))["AccessKey"]
    iam.create_role(RoleName=own("reader"), AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.put_role_policy(RoleName=own("reader"), PolicyName="all", PolicyDocument=json.dumps(POLICY))
    s3.create_bucket(Bucket="hospital")
    for name, data in objects.items():
        s3.put_object(Bucket="hospital", Key=name, Body=data)
    _enforce(port, "0")
    keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    try:
        yield PrivateS3(endpoint, keys, own("reader"))
    finally:
        _enforce(port, "inf")
        server.stop()


def _enforce(port: int, allowed: str) -> None:
    """Let moto check the signature and the policy of each request after so many."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/moto-api/reset-auth", allowed)
    assert connection.getresponse().status == 200
    connection.close()


class PrivateGcs(FaultyBucket):
    """A bucket that wants a token which its token server has given; lists as GCS does, in JSON."""

    @cached_property
    def tokens(self) -> list[str]:
        """The tokens that were given out."""
        return []

    async def answer(self, stream: ByteStream, head: str) -> bool:
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
        if fields.get("Authorization") not in [f"Bearer {token}" for token in self.tokens]:
            await stream.send(response(401))
            return True
        target = urlsplit(head.split(" ")[1])
        if not target.path.startswith("/storage/v1/b/"):
            return await super().answer(stream, head)
        prefix = parse_qs(target.query).get("prefix", [""])[0]
        items = [
            {"name": key, "size": str(len(data))}
            for key, data in self.objects.items()
            if key.startswith(prefix)
        ]
        await stream.send(response(200, json.dumps({"items": items}).encode()))
        return True

    @contextmanager
    def account(self, folder: Path) -> Iterator[dict[str, str]]:
        """A service account whose tokens this bucket accepts: its variables."""

        def token(_: BaseHTTPRequestHandler) -> dict[str, Any]:
            self.tokens.append(f"token-{len(self.tokens)}")
            return {"access_token": self.tokens[-1], "expires_in": 3600, "token_type": "Bearer"}

        with serving_json(token) as address:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            pem = key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            account = folder / "account.json"
            facts = {
                "type": "service_account",
                "client_email": "reader@hospital.example",
                "token_uri": f"{address}/token",
                "private_key": pem.decode(),
                "private_key_id": "1",
            }
            account.write_text(json.dumps(facts))
            yield {"GOOGLE_APPLICATION_CREDENTIALS": str(account)}


@contextmanager
def serving_json(document: Callable[[BaseHTTPRequestHandler], Any]) -> Iterator[str]:
    """A server that answers every request with a JSON document; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(document(self)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

    with serving(Handler) as url:
        yield url
