/**
 * When a destination took mail, as far as the log shows: it was down from a refusal to the next acceptance. Between the last refusal and
 * the first acceptance nobody looked, so each outage has three lengths. Pure.
 */

/** Best: it was down only while it was seen to refuse. Worst: until it was seen to accept. Middle: half of the time between. */
export const CASES = ['best', 'middle', 'worst'] as const
export type CaseName = (typeof CASES)[number]

/** What was seen of a destination at a time (epoch ms). */
export interface Evidence {
  readonly at: number
  readonly isRefusal: boolean
}

/** The outages of a destination, in one case: sorted, `from` to `to` inclusive, epoch ms. */
export interface Outages {
  readonly from: Float64Array
  readonly to: Float64Array
}

/** Whether it was down at a time. */
export function isDownAt({ from, to }: Outages, at: number): boolean {
  let low = 0
  let high = from.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((from[middle] as number) <= at) low = middle + 1
    else high = middle
  }
  return low > 0 && at <= (to[low - 1] as number)
}

/** When one destination was down. */
export class Availability {
  readonly in: Readonly<Record<CaseName, Outages>>

  /** @param evidence sorted by time. @param until the end of the log: an outage that goes on may last for ever, in the worst case. */
  constructor(evidence: readonly Evidence[], until: number) {
    const seen = outagesSeen(evidence)
    this.in = {
      best: bounds(seen, ({ first, last }) => [first, last]),
      middle: bounds(seen, ({ before, first, last, after }) => [
        before === null ? first : (before + first) / 2,
        (last + (after ?? Math.max(last, until))) / 2,
      ]),
      worst: bounds(seen, ({ before, first, after }) => [
        before === null ? first : before + 1,
        after === null ? Number.POSITIVE_INFINITY : after - 1,
      ]),
    }
  }

  /** How many outages were seen. */
  get outages(): number {
    return this.in.best.from.length
  }

  isDown(at: number, which: CaseName): boolean {
    return isDownAt(this.in[which], at)
  }
}

/** One outage: the last acceptance before it, its first and last refusal, the first acceptance after it. */
interface Seen {
  readonly before: number | null
  readonly first: number
  last: number
  after: number | null
}

function outagesSeen(evidence: readonly Evidence[]): Seen[] {
  const outages: Seen[] = []
  let open: Seen | null = null
  let acceptedAt: number | null = null
  for (const { at, isRefusal } of evidence) {
    if (isRefusal && open === null) {
      open = { before: acceptedAt, first: at, last: at, after: null }
      outages.push(open)
    } else if (isRefusal && open !== null) open.last = at
    else if (!isRefusal) {
      if (open !== null) open.after = at
      open = null
      acceptedAt = at
    }
  }
  return outages
}

function bounds(outages: readonly Seen[], of: (outage: Seen) => readonly [number, number]): Outages {
  const pairs = outages.map(of)
  return { from: Float64Array.from(pairs, ([from]) => from), to: Float64Array.from(pairs, ([, to]) => to) }
}
