"""Receives the events of softbounce's webhook: verifies each by Standard Webhooks, acts once on each, and prints it.

    pip install standardwebhooks
    SOFTBOUNCE_EVENTS_WEBHOOK_SECRET=whsec_... python webhook_receiver.py 8765
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["SOFTBOUNCE_EVENTS_WEBHOOK_SECRET"])
seen: set[str] = set()  # a real one keeps these for a day, in a database


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            event = webhook.verify(body.decode(), {name.lower(): value for name, value in self.headers.items()})
        except WebhookVerificationError:
            self.send_response(401)
            self.end_headers()
            return
        if self.headers["webhook-id"] not in seen:
            seen.add(self.headers["webhook-id"])
            print(json.dumps(event), flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
