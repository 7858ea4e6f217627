"""Starts a retry from Python, by the public contract alone (docs/protocol.md).

    pip install temporalio
    python start_retry.py message.eml ann@example.org bounces@example.com

A second bounce of the same message goes to the workflow that is open: the conflict policy says so.
"""

import asyncio
import os
import re
import sys
from datetime import datetime, timezone

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy


async def main(file: str, recipient: str, sender: str) -> None:
    client = await Client.connect(
        os.environ.get("TEMPORAL_ADDRESS", "localhost:7233"), namespace=os.environ.get("TEMPORAL_NAMESPACE", "default")
    )
    with open(file, encoding="utf-8", newline="") as message:
        raw = message.read()
    message_id = re.search(r"^Message-ID:\s*<([^>]+)>", raw, re.IGNORECASE | re.MULTILINE).group(1)
    handle = await client.start_workflow(
        "retryBouncedMessage",
        {
            "messageId": message_id,
            "sender": sender,
            "recipient": recipient,
            "message": {"raw": raw},
            "bounce": {
                "status": "4.3.2",
                "bouncedAt": datetime.now(timezone.utc).isoformat(),
                "diagnostic": "421 4.3.2 System not accepting network messages",
            },
        },
        # folded and, if it is long, hashed as docs/protocol.md says
        id=f"bounce/{recipient}/{message_id}",
        task_queue="softbounce",
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
    print(handle.id)


asyncio.run(main(*sys.argv[1:4]))
