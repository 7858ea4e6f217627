/** What a transaction's error says: nodemailer's, or that of a step's timer. */
import { parseReply, type Stage } from '../../bounce/index.js'
import { lacksFamilyOf } from '../local-address-families.js'
import type { NextHop } from '../next-hop.js'
import type { ProtocolTracker } from './protocol-tracker.js'
import { mustBeVerified, type TransactionResult } from './transaction-result.js'

/** However impatient a server is, it waits for so long after 354 (RFC 5321 section 4.5.3.2.5 asks for minutes). */
const MAX_CLAIM_WAIT_MS = 2000
/** Errors of connecting that the other side, or the way to it, causes. */
const UNREACHABLE = new Set(['EHOSTUNREACH', 'EHOSTDOWN', 'ETIMEDOUT'])
const BROKEN = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED'])

export interface SmtpError extends Error {
  code?: string
  originalCode?: string
  response?: string
}

/** The session in which it happened. */
interface FailedSession {
  readonly path: NextHop
  readonly mailServer: string
  readonly steps: ProtocolTracker
  readonly stopped: boolean
  /** Since when the server waits for the content, and we for leave to send it, ms; null if we do not. */
  readonly askingSince: number | null
}

/** What an error says about the message and its server. */
export function failureOf(error: SmtpError & { status?: string }, session: FailedSession): TransactionResult {
  const { path, mailServer, steps, stopped, askingSince } = session
  const at = steps.current
  // a server that lost its patience with us is not to blame; one that closed at once, or refused, has answered
  const weWereSlow = askingSince !== null && Date.now() - askingSince > MAX_CLAIM_WAIT_MS
  if (stopped || weWereSlow) return { kind: 'stopped', mailServer }
  if (error.status !== undefined) return { kind: 'unsupported', status: error.status, text: error.message, mailServer }
  if (at === 'STARTTLS' && mustBeVerified(path)) return policyFailure(mailServer, at, error.message)
  if (typeof error.response === 'string') {
    const reply = parseReply(error.response)
    if (reply.code >= 400) return { kind: 'reply', at: steps.stepOf(error.response), reply, mailServer }
  }
  const detail = error.message.replace(/\s+/g, ' ').slice(0, 300)
  if (steps.finalDotSent)
    return {
      kind: 'lost',
      at: 'final dot',
      afterFinalDot: true,
      text: `host ${mailServer}: connection lost after the final dot (${detail})`,
      mailServer,
    }
  const code = error.originalCode ?? error.code ?? ''
  if (steps.heldUp) return { kind: 'local', text: `this worker stood still while ${mailServer} was waited for at ${at}`, mailServer }
  if (at === 'connect') return notConnected(path, mailServer, code, detail)
  if (path.tls !== 'opportunistic' && (error.code === 'ETLS' || /certificate|self.signed|CERT_|altname/i.test(`${code} ${detail}`)))
    return policyFailure(mailServer, at, error.message)
  const how = code === 'ETIMEDOUT' ? 'no answer in time' : 'connection lost'
  return { kind: 'lost', at, afterFinalDot: false, text: `host ${mailServer}: ${how} at ${at} (${detail})`, mailServer }
}

function policyFailure(mailServer: string, at: Stage, text: string): TransactionResult {
  const detail = text.replace(/\s+/g, ' ').slice(0, 300)
  return {
    kind: 'policy',
    at,
    text: `TLS with ${mailServer} could not be verified or set up: ${detail}`,
    mailServer: mailServer,
  }
}

function notConnected(path: NextHop, mailServer: string, code: string, detail: string): TransactionResult {
  if (code === 'ECONNREFUSED') return { kind: 'refused', text: `host ${mailServer} refused the connection`, mailServer }
  if (lacksFamilyOf(path.host))
    return {
      kind: 'local',
      noRoute: true,
      text: `${mailServer} cannot be reached from here: this machine has no IPv6 address`,
      mailServer,
    }
  if (UNREACHABLE.has(code)) return { kind: 'unreachable', text: `host ${mailServer} did not answer (${detail})`, mailServer }
  if (BROKEN.has(code))
    return { kind: 'lost', at: 'connect', afterFinalDot: false, text: `host ${mailServer} closed the connection (${detail})`, mailServer }
  return { kind: 'local', text: `${mailServer} cannot be reached from here: ${detail}`, mailServer }
}
