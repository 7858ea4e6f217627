"""A channel of your own without HTTP: a worker whose activity `notifyAlternative` gets softbounce's events (SMS, chat, post...).

    pip install temporalio
    SOFTBOUNCE_EVENTS_TASK_QUEUE=sms   # for softbounce's workers
    SOFTBOUNCE_ENCRYPTION_KEYS=...          # where they have it; needs `cryptography` too
    python notify_alternative.py sms
"""

import asyncio
import json
import os
import sys

from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker


@activity.defn(name="notifyAlternative")
async def notify_alternative(event: dict) -> None:
    # the same event may come more than once: event["id"] tells
    print(json.dumps(event), flush=True)


def encryption() -> dict:
    if not os.environ.get("SOFTBOUNCE_ENCRYPTION_KEYS"):
        return {}
    from encryption_codec import DATA_CONVERTER

    return {"data_converter": DATA_CONVERTER}


async def main() -> None:
    client = await Client.connect(
        os.environ.get("TEMPORAL_ADDRESS", "127.0.0.1:7233"),
        namespace=os.environ.get("TEMPORAL_NAMESPACE", "default"),
        **encryption(),
    )
    await Worker(client, task_queue=sys.argv[1], activities=[notify_alternative]).run()


asyncio.run(main())
