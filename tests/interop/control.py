"""JSON over HTTP on a unix socket: how the portal and the client are asked things, from any network namespace."""

import http.client
import json
import socket


class ControlError(Exception):
    """An answer that is not 200; `answer` is its JSON."""

    def __init__(self, status, answer):
        super().__init__(f"{status}: {answer}")
        self.status, self.answer = status, answer


class Control:
    def __init__(self, path, timeout=40):
        self.path, self.timeout = str(path), timeout

    def get(self, route):
        return self._ask("GET", route, None)

    def post(self, route, body=None):
        return self._ask("POST", route, {} if body is None else body)

    def _ask(self, method, route, body):
        connection = http.client.HTTPConnection("localhost", timeout=self.timeout)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(self.timeout)
        try:
            connection.sock.connect(self.path)
            connection.request(method, route, None if body is None else json.dumps(body),
                               {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        try:
            answer = json.loads(text)
        except ValueError:
            answer = text.decode(errors="replace")
        if response.status != 200:
            raise ControlError(response.status, answer)
        return answer
