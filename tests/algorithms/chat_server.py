"""A chat server on this machine that misbehaves as it is told, and counts what it answered."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ChatStub:
    """Answers with `answer(prompt)`; the n-th request (from 0) is treated as `faults[n]` says, if it says anything.

    `generated` holds the prompts for which an answer was sent whole.
    """

    def __init__(self, answer, faults=None):
        self.answer, self.faults = answer, dict(faults or {})
        self.requests, self.generated, self.bodies = 0, [], []
        self.lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                stub.serve(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def serve(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            fault = self.faults.get(self.requests, self.faults.get("all"))
            self.requests += 1
            self.bodies.append({**body, "authorization": handler.headers.get("Authorization")})
        prompt = body["messages"][-1]["content"]
        data = self.reply(prompt)
        if callable(fault):
            fault = fault(prompt)
        if isinstance(fault, int):
            return send(
                handler, b'{"error": "no"}', status=fault, headers={"Retry-After": "0.05"} if fault == 429 else {}
            )
        if fault == "hang":
            time.sleep(1.0)
            return None
        if fault == "malformed":
            return send(handler, b'{"choices": [')
        if fault == "empty":
            return send(handler, b"{}")
        if fault == "uncounted":
            return send(handler, json.dumps({"choices": json.loads(data)["choices"]}).encode())
        if fault == "cut":
            return send(handler, data[: len(data) // 2], length=len(data))
        if fault == "dribble":
            return send(handler, data, pause=0.05)
        with self.lock:
            self.generated.append(prompt)
        return send(handler, data)

    def reply(self, prompt):
        text = self.answer(prompt)
        return json.dumps(
            {
                "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": len(prompt), "completion_tokens": len(text)},
            }
        ).encode()


def send(handler, data, status=200, headers=(), length=None, pause=0.0):
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(data) if length is None else length))
    for name, value in dict(headers).items():
        handler.send_header(name, value)
    handler.end_headers()
    try:
        if pause:
            for byte in data:
                handler.wfile.write(bytes([byte]))
                time.sleep(pause)
        else:
            handler.wfile.write(data)
    except OSError:
        pass
