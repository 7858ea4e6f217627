"""A channel of your own without HTTP: a worker whose activity `notifyAlternative` gets softbounce's events (SMS, chat, post...).

    pip install temporalio
    ALTERNATIVE_TASK_QUEUE=sms   # for softbounce's workers
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


async def main() -> None:
    client = await Client.connect(
        os.environ.get("TEMPORAL_ADDRESS", "127.0.0.1:7233"),
        namespace=os.environ.get("TEMPORAL_NAMESPACE", "default"),
    )
    await Worker(client, task_queue=sys.argv[1], activities=[notify_alternative]).run()


asyncio.run(main())
