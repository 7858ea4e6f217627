"""softbounce's encrypted payloads, for a worker or starter of your own in Python.

    pip install temporalio cryptography
    SOFTBOUNCE_ENCRYPTION_KEYS='[{"id": "k1", "key": "..."}]'   # encryption.keys, as JSON

`DATA_CONVERTER` goes to `Client.connect`; `workflow_id` names the workflow of a message and recipient (both folded as docs/protocol.md says).
"""

import base64
import dataclasses
import hashlib
import hmac
import json
import os
from typing import Iterable, List

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec

KEYS = {one["id"]: base64.b64decode(one["key"]) for one in json.loads(os.environ.get("SOFTBOUNCE_ENCRYPTION_KEYS") or "[]")}
FIRST = next(iter(KEYS), None)


class EncryptionCodec(PayloadCodec):
    async def encode(self, payloads: Iterable[Payload]) -> List[Payload]:
        return [self._encrypt(payload) for payload in payloads]

    async def decode(self, payloads: Iterable[Payload]) -> List[Payload]:
        return [self._decrypt(payload) if payload.metadata.get("encoding") == b"binary/encrypted" else payload for payload in payloads]

    def _encrypt(self, payload: Payload) -> Payload:
        nonce = os.urandom(12)
        data = nonce + AESGCM(KEYS[FIRST]).encrypt(nonce, payload.SerializeToString(), None)
        return Payload(metadata={"encoding": b"binary/encrypted", "encryption-key-id": FIRST.encode()}, data=data)

    def _decrypt(self, payload: Payload) -> Payload:
        key = KEYS[payload.metadata["encryption-key-id"].decode()]
        return Payload.FromString(AESGCM(key).decrypt(payload.data[:12], payload.data[12:], None))


DATA_CONVERTER = (
    DataConverter.default
    if FIRST is None
    else dataclasses.replace(
        DataConverter.default,
        payload_codec=EncryptionCodec(),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
)


def workflow_id(recipient: str, message_id: str) -> str:
    key = hmac.digest(KEYS[FIRST], b"softbounce workflow id", "sha256")
    recipient_part, message_part = (hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:32] for text in (recipient, message_id))
    return f"bounce/hmac-{recipient_part}/hmac-{message_part}"
