/** The history of a recipient over all tables, in chronological order. */
import { nameOfAttempt } from '../bounce/index.js'
import type { Database } from './database.js'

/** An event in a recipient's history, worded for display. */
export interface RecipientEvent {
  readonly at: Date
  readonly kind: 'bounce' | 'retry' | 'end' | 'suppression'
  readonly what: string
  readonly status: string | null
  readonly detail: string | null
  readonly messageId: string | null
  readonly workflowId: string | null
  /** Who changed the suppression, if no workflow did. */
  readonly by?: string
}

export const MOST_EVENTS = 10_000

/** The history, oldest first: at most the newest 10,000 events of each kind. @param address folded. */
export async function historyOf({ db }: Database, address: string): Promise<RecipientEvent[]> {
  const bounces = await db
    .selectFrom('inbound')
    .select(['at', 'disposition', 'status', 'why', 'message_id', 'workflow_id'])
    .where('recipient', '=', address)
    .orderBy('at', 'desc')
    .limit(MOST_EVENTS)
    .execute()
  const attempts = await db
    .selectFrom('attempts')
    .selectAll()
    .where('recipient', '=', address)
    .where('at', 'is not', null)
    .orderBy('at', 'desc')
    .limit(MOST_EVENTS)
    .execute()
  const ends = await db
    .selectFrom('outcomes')
    .select(['ended_at', 'outcome', 'confirmed', 'message_id', 'workflow_id'])
    .where('recipient', '=', address)
    .orderBy('ended_at', 'desc')
    .limit(MOST_EVENTS)
    .execute()
  const changes = await db
    .selectFrom('suppression_history')
    .selectAll()
    .where('address', '=', address)
    .orderBy('id', 'desc')
    .limit(MOST_EVENTS)
    .execute()
  const of = (event: Omit<RecipientEvent, 'at'>, at: number): RecipientEvent => ({ ...event, at: new Date(at) })
  return [
    ...bounces.map((b) =>
      of(
        {
          kind: 'bounce',
          what: `bounced: ${b.disposition}`,
          status: b.status,
          detail: b.why,
          messageId: b.message_id,
          workflowId: b.workflow_id,
        },
        b.at,
      ),
    ),
    ...attempts.flatMap((a) => {
      const about = { kind: 'retry', messageId: a.message_id, workflowId: a.workflow_id } as const
      const answer = of({ ...about, what: `${nameOfAttempt(a)}: ${a.outcome}`, status: a.status, detail: a.reply }, a.at as number)
      if (a.reported_at === null) return [answer]
      const report = { ...about, what: `${nameOfAttempt(a)}: a notification came`, status: a.reported_status, detail: a.reported_reply }
      return [answer, of(report, a.reported_at)]
    }),
    ...ends.map((e) =>
      of(
        {
          kind: 'end',
          what: `ended: ${e.outcome}${e.outcome === 'delivered' && e.confirmed === 0 ? ', unconfirmed' : ''}`,
          ...{ status: null, detail: null, messageId: e.message_id, workflowId: e.workflow_id },
        },
        e.ended_at,
      ),
    ),
    ...changes.map((c) => {
      const isByWorkflow = c.by.startsWith('bounce/')
      return of(
        {
          kind: 'suppression',
          what: `${c.change} (${c.reason})${c.until === null ? '' : ` until ${new Date(c.until).toISOString()}`}${isByWorkflow ? '' : `, by ${c.by}`}`,
          ...{
            status: c.status,
            detail: c.reply,
            messageId: null,
            ...(isByWorkflow ? { workflowId: c.by } : { workflowId: null, by: c.by }),
          },
        },
        c.at,
      )
    }),
  ].sort((a, b) => a.at.getTime() - b.at.getTime())
}
