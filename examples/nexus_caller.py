"""A team in a namespace of its own has a bounced message retried through a Nexus endpoint (docs/how-to/other-namespaces.md).

    pip install temporalio
    temporal operator nexus endpoint create --name softbounce --target-namespace default --target-task-queue softbounce
    TEMPORAL_NAMESPACE=orders python nexus_caller.py softbounce message.eml ann@example.org bounces@example.com
"""

import asyncio
import os
import re
import sys
import uuid
from datetime import datetime, timezone

import nexusrpc
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Worker


@nexusrpc.service(name="softbounce")
class Softbounce:
    retry: nexusrpc.Operation[dict, dict]
    retryNow: nexusrpc.Operation[dict, dict]
    giveUp: nexusrpc.Operation[dict, dict]
    progress: nexusrpc.Operation[dict, dict]


@workflow.defn
class Order:
    @workflow.run
    async def run(self, endpoint: str, bounced_message: dict) -> dict:
        softbounce = workflow.create_nexus_client(service=Softbounce, endpoint=endpoint)
        # completes when the retries end, which may take days
        return await softbounce.execute_operation(Softbounce.retry, bounced_message)


async def main(endpoint: str, file: str, recipient: str, sender: str) -> None:
    client = await Client.connect(
        os.environ.get("TEMPORAL_ADDRESS", "localhost:7233"), namespace=os.environ.get("TEMPORAL_NAMESPACE", "orders")
    )
    with open(file, encoding="utf-8", newline="") as message:
        raw = message.read()
    bounced_message = {
        "messageId": re.search(r"^Message-ID:\s*<([^>]+)>", raw, re.IGNORECASE | re.MULTILINE).group(1),
        "sender": sender,
        "recipient": recipient,
        "message": {"raw": raw},
        "bounce": {"status": "4.3.2", "bouncedAt": datetime.now(timezone.utc).isoformat()},
    }
    if os.environ.get("SCHEDULE"):
        bounced_message["schedule"] = os.environ["SCHEDULE"].split(",")
    async with Worker(client, task_queue="orders", workflows=[Order]):
        result = await client.execute_workflow(
            Order.run, args=[endpoint, bounced_message], id=f"order-{uuid.uuid4()}", task_queue="orders"
        )
    print(result["outcome"])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
