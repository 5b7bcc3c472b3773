"""Requests to a demo bucket."""

import http.client
import xml.etree.ElementTree as ET
from urllib.parse import urlsplit

from harvester.demo import DemoAddress

SECRET = b"this must never be served"
BIG = 3 * 1024 * 1024 + 17


class Answer:
    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.body = answer.read()


def ask(address: DemoAddress, target: str, method: str = "GET", **headers: str) -> Answer:
    """Send a request line unchanged, without a client that normalises the path."""
    connection = http.client.HTTPConnection(urlsplit(address.endpoint).netloc, timeout=300)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        return Answer(connection.getresponse())
    finally:
        connection.close()


def error_code(answer: Answer) -> str | None:
    return ET.fromstring(answer.body).findtext("Code")
