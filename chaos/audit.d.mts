/** Times in ms. */
export interface Run {
  readonly lives: { id: string; recipient: string; system: string; kind: string; bouncedAt: number; delaysMs: number[] }[]
  readonly contacts: {
    at: number
    system: string
    connection: string
    step: string
    ehlo: string | null
    recipient: string | null
    messageId: string | null
    said: string | null
    refused?: boolean
    drops?: boolean
    stalls?: boolean
    taken?: boolean
  }[]
  readonly results: Map<string, { status: string; result: { outcome: string; retries: number; confirmed?: boolean } | null }>
  readonly attempts: {
    recipient: string
    retry: number
    destination: string
    stage: string
    outcome: string
    status: string
    reply: string
    begun_at: number
    at: number
    maybe_delivered?: number
  }[]
  readonly suppressions: { address: string }[]
  readonly faults: { kind: string; worker?: string; at: number; until: number | null }[]
  readonly settings: { rate: number; skewMs: number; relay: string }
}

export function audit(run: Run): {
  findings: Record<string, string[]>
  explained: string[]
  outcomes: Record<string, number>
}
