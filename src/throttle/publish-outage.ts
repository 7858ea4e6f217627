/**
 * Publishes that a destination went down or recovered. Each answer writes the outage to the database, so a change that could not be
 * published at once (Temporal was unavailable, the worker died) is published by the next periodic check.
 */
import { type Client, WorkflowExecutionAlreadyStartedError, WorkflowIdReusePolicy } from '@temporalio/client'
import { channelsFor, type EventOrder, type EventType, fleetPrefix, type SoftbounceEvent } from '../bounce/index.js'
import type { ThrottleContext } from './context.js'
import { markPublished, type UnpublishedOutage, unpublishedOutages } from './outages.js'

/** A change is not published after this time. */
const OF_USE_FOR_MS = 24 * 60 * 60_000

/** @param name limits this to one destination. @throws Error if the database or Temporal is unavailable. */
export async function publishOutages(
  client: Client,
  taskQueue: string,
  { database, settings }: Pick<ThrottleContext, 'database' | 'settings'>,
  name?: string,
): Promise<void> {
  const types: readonly EventType[] = settings.events.types.filter((type) => type === 'destination.down' || type === 'destination.up')
  const channels = channelsFor(types, settings.events)
  if (channels === null) return
  for (const outage of await unpublishedOutages(database, new Date(Date.now() - OF_USE_FOR_MS), name)) {
    const event = eventOf(outage)
    if (types.includes(event.type)) await startPublishing(client, taskQueue, { event, ...channels }, outage.destination)
    await markPublished(database, outage)
  }
}

/** Starts the workflow that publishes an event of a destination, once for each event. */
export async function startPublishing(client: Client, taskQueue: string, order: EventOrder, destination: string): Promise<void> {
  await client.workflow
    .start('publishEvent', {
      ...{ taskQueue, workflowId: `event/${fleetPrefix(taskQueue)}${order.event.id}`, args: [order] },
      workflowIdReusePolicy: WorkflowIdReusePolicy.REJECT_DUPLICATE,
      staticSummary: `${order.event.type} ${destination}`,
    })
    .catch((error: Error) => {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error
    })
}

function eventOf({ destination, change, beganAt, at, status, reply }: UnpublishedOutage): SoftbounceEvent {
  const since = beganAt.toISOString()
  const type = `destination.${change}` as const
  return { id: `${destination}.${since}.${type}`, type, timestamp: at.toISOString(), data: { destination, since, status, reply } }
}
