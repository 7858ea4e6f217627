/** The one place where an SMTP transaction becomes an outcome (docs/protocol.md has the table). */
import { parseReply, provesGone, refusesRecipient, type Stage, statusOfReply } from '../bounce/index.js'
import type { MailHosts } from './mx.js'
import type { NextHop } from './next-hop.js'
import type { TransactionResult } from './smtp/transaction-result.js'

/**
 * - `accepted`, `deferred`, `rejected`: the answer to this attempt. `lasting`: the rejection is about the recipient, for good.
 * - `ambiguous`: the connection was lost after the final dot; the message may have arrived (RFC 1047).
 * - `unreachable`: nobody answered; whether the destination or our own network failed is not known.
 * - `local failure`: the destination was not contacted; uses up no retry.
 * - `stopped`: we stopped it.
 */
export type SendOutcome =
  | ({ readonly kind: 'accepted' | 'deferred' } & Answered)
  | ({ readonly kind: 'ambiguous' } & Answered)
  | ({ readonly kind: 'unreachable' } & Answered)
  | ({ readonly kind: 'rejected'; readonly lasting: boolean } & Answered)
  /** `noRoute`: this machine has no address of the family that the destination needs. */
  | { readonly kind: 'local failure'; readonly noRoute?: true; readonly text: string }
  | { readonly kind: 'stopped' }

/** The answer, its step, and the server that gave it. */
export interface Answered {
  readonly status: string
  /** The reply, unchanged, or what happened instead. */
  readonly reply: string
  readonly stage: Stage
  readonly mailServer: string
}

/** Classifies a look-up that found no host. `domain` is reported as the mail server. */
export function classifyLookup(found: Exclude<MailHosts, { kind: 'hosts' }>, domain: string): SendOutcome {
  const answer = { reply: found.text, stage: 'MX', mailServer: domain } as const
  switch (found.kind) {
    case 'null mx':
      return { kind: 'rejected', lasting: true, status: '5.1.10', ...answer }
    case 'no domain':
      return { kind: 'rejected', lasting: false, status: '5.1.2', ...answer }
    case 'unroutable':
      return { kind: 'deferred', status: '4.4.4', ...answer }
    case 'unresolved':
      return { kind: 'unreachable', status: '4.4.3', ...answer }
    case 'local':
      return { kind: 'local failure', text: found.text }
  }
}

/** Classifies a transaction; `path` determines whether the replies are a relay's. */
export function classifyResult(result: TransactionResult, path: Pick<NextHop, 'kind'>): SendOutcome {
  const { mailServer } = result
  switch (result.kind) {
    case 'stopped':
      return { kind: 'stopped' }
    case 'local':
      return { kind: 'local failure', text: result.text, ...(result.noRoute && path.kind === 'system' ? { noRoute: true } : {}) }
    case 'policy':
      // never sent in clear instead: the message waits (RFC 8461 section 5)
      return isSystems(path, result.at)
        ? { kind: 'deferred', status: '4.7.5', reply: result.text, stage: result.at, mailServer }
        : { kind: 'local failure', text: result.text }
    case 'unsupported':
      return { kind: 'rejected', lasting: false, status: result.status, reply: result.text, stage: 'EHLO', mailServer }
    case 'reply':
      return isSystems(path, result.at) ? judgeSystemReply(result) : judgeRelayReply(result)
    case 'lost':
      if (result.afterFinalDot) return { kind: 'ambiguous', status: '4.4.2', reply: result.text, stage: 'final dot', mailServer }
      return isSystems(path, result.at)
        ? { kind: 'deferred', status: '4.4.2', reply: result.text, stage: result.at, mailServer }
        : { kind: 'local failure', text: `the relay: ${result.text}` }
    case 'refused':
      return isSystems(path, 'connect')
        ? { kind: 'deferred', status: '4.4.1', reply: result.text, stage: 'connect', mailServer }
        : { kind: 'local failure', text: `the relay: ${result.text}` }
    case 'unreachable':
      return isSystems(path, 'connect')
        ? { kind: 'unreachable', status: '4.4.1', reply: result.text, stage: 'connect', mailServer }
        : { kind: 'local failure', text: `the relay: ${result.text}` }
  }
}

/** Whether a reply at this step is the destination's. A login is always between us and our relay. */
function isSystems({ kind }: Pick<NextHop, 'kind'>, at: Stage): boolean {
  if (at === 'AUTH' || kind === 'relay') return false
  return kind === 'system' || at === 'MAIL' || at === 'RCPT' || at === 'DATA' || at === 'final dot'
}

type Replied = Extract<TransactionResult, { kind: 'reply' }>

function judgeSystemReply({ at, reply, mailServer }: Replied): SendOutcome {
  const answer = { status: statusOfReply(reply) ?? '4.5.0', reply: reply.text, stage: at, mailServer }
  if (at === 'final dot' && reply.code >= 200 && reply.code < 300) return { kind: 'accepted', ...answer }
  if (reply.code >= 500) return { kind: 'rejected', lasting: isLastingRejection(answer), ...answer }
  // 4xx, and any reply that this step does not allow
  return { kind: 'deferred', ...answer, status: answer.status.startsWith('4') ? answer.status : '4.5.0' }
}

/**
 * True if a rejection says that this recipient will never accept mail: at RCPT, by its code, or by its text for a bare 550, 551 or 553; or
 * by a null MX (RFC 7505).
 */
export function isLastingRejection(answer: { stage: Stage; status: string; reply: string }): boolean {
  if (answer.stage === 'MX') return answer.status === '5.1.10'
  if (answer.stage !== 'RCPT') return false
  const reply = parseReply(answer.reply)
  return reply.status === null ? refusesRecipient(reply) : provesGone(answer.status, answer.reply)
}

/** A failure of the relay itself (overload, login, relaying denied) is a local failure and uses up no retry. */
function judgeRelayReply(result: Replied): SendOutcome {
  const { at, reply, mailServer } = result
  if (at === 'final dot' && reply.code >= 200 && reply.code < 300) return judgeSystemReply(result)
  const denied = at === 'RCPT' && (reply.status?.startsWith('5.7.') === true || deniesRelaying(reply))
  const later = at === 'RCPT' || at === 'DATA' || at === 'final dot'
  if (reply.code < 500 || !later || denied || reply.code === 530)
    return { kind: 'local failure', text: `the relay ${mailServer} said at ${at}: ${reply.text}` }
  return judgeSystemReply(result)
}

/** A bare reply whose text denies relaying; "user unknown in relay recipient table" does not. */
function deniesRelaying(reply: Replied['reply']): boolean {
  return reply.status === null && /\brelay(?:ing)?\b.{0,20}\b(?:denied|prohibited|not (?:permitted|allowed))/i.test(reply.text)
}
