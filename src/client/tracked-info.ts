/** Merges the results of a message's envelopes into one, as nodemailer returns for one envelope with several recipients. */
import type { RetriedRecipient } from './track-options.js'
import type { Info } from './transport.js'

export interface Envelope {
  readonly from: string
  readonly to: string[]
}

/** The result of one envelope. */
export type Ended = { readonly envelope: Envelope } & (
  | { readonly kind: 'accepted'; readonly info: Info }
  | { readonly kind: 'refused'; readonly error: Error }
  | { readonly kind: 'pending'; readonly retry: RetriedRecipient; readonly reply: string }
)

type Of<Kind extends Ended['kind']> = Extract<Ended, { kind: Kind }>
const only = <Kind extends Ended['kind']>(ended: readonly Ended[], kind: Kind) => ended.filter((one): one is Of<Kind> => one.kind === kind)

/** @throws the first error, if every recipient was refused and none is retried. */
export function together(ended: readonly Ended[], sender: string, messageId: string): Info {
  const accepted = only(ended, 'accepted')
  const refused = only(ended, 'refused')
  const pending = only(ended, 'pending')
  const first =
    accepted[0]?.info ?? (pending[0] === undefined ? undefined : { messageId, response: pending[0].reply, accepted: [], rejected: [] })
  if (first === undefined) throw refused[0]?.error
  const all = (name: 'accepted' | 'rejected') => accepted.flatMap((one) => one.info[name] ?? [])
  return {
    ...first,
    envelope: ended.length === 1 ? (ended[0] as Ended).envelope : { from: sender, to: ended.flatMap((one) => one.envelope.to) },
    ...('accepted' in first ? { accepted: all('accepted') } : {}),
    ...('rejected' in first ? { rejected: [...all('rejected'), ...refused.flatMap((one) => one.envelope.to)] } : {}),
    ...(pending.length === 0 ? {} : { pending: pending.flatMap((one) => one.envelope.to), retries: pending.map((one) => one.retry) }),
    ...(refused.length === 0
      ? {}
      : { rejectedErrors: refused.map(({ envelope, error }) => Object.assign(error, { recipient: envelope.to[0] })) }),
  }
}
