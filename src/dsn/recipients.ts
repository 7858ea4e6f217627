/**
 * Decides whom a notice is about. Every source names candidates: X-Failed-Recipients, the notice's text, the original's header, the signed
 * return path. Each candidate has a score; docs/reading-bounces.md explains the rule.
 */

import { type Form, type Mention, mentionsIn } from './candidates.js'
import { isDaemon, speaksOfFailure } from './gate.js'
import type { Mail } from './mail.js'
import type { Notice } from './notice.js'
import { addressesIn, authorsIn, envelopeRecipientsIn, recipientsIn } from './original.js'
import { namesAnotherUser } from './words.js'

/** Where an address was named, besides the notice's text. */
export type Source = 'X-Failed-Recipients' | "original's To" | "original's Received" | 'return path' | 'subject'

/** An address that may be the recipient. */
export interface Candidate {
  readonly address: string
  /** How the notice names it; null if only other sources do. */
  readonly form: Form | null
  /** Number of the notice's line, from 1. */
  readonly line: number | null
  readonly sources: readonly Source[]
  readonly score: number
  /** Whether the report is about it, and why or why not. */
  readonly won: boolean
  readonly why: string
}

/** A recipient that the rule chose. */
export interface Chosen {
  readonly recipient: string
  readonly originalRecipient?: string
  /** Where the notice names it: some list each recipient for a person, and once more with the reply. */
  readonly mentions: readonly Mention[]
}

export interface Choice {
  readonly chosen: readonly Chosen[]
  /** Every mention of an address that may be a recipient, chosen or not. */
  readonly mentions: readonly Mention[]
  readonly candidates: readonly Candidate[]
}

const FORM_SCORE: Readonly<Record<Form, number>> = { 'line start': 5, alone: 5, labelled: 3, sentence: 2, forwarded: 1, summary: 0 }
const SOURCE_SCORE: Readonly<Record<Source, number>> = {
  'X-Failed-Recipients': 10,
  "original's Received": 4,
  "original's To": 3,
  'return path': 4,
  subject: 2,
}
const MAX_RECIPIENTS = 1000

interface Entry {
  readonly address: string
  /** Every place where the notice names it, and the one that tells most. */
  readonly mentions: readonly Mention[]
  readonly mention: Mention | null
  readonly sources: Source[]
  readonly score: number
  readonly excludedBecause: string | null
}

/** The recipients of a notice. `known` is the recipient that the signed return path stands for. */
export function chooseRecipients(mail: Mail, notice: Notice, known?: string): Choice {
  const mentions = mentionsIn(notice)
  const entries = entriesOf(mail, notice, mentions, known)
  const isAboutIt = (e: Entry) => speaksOfFailure(mail, notice) && !namesAnotherUser(notice.lower, e.address)
  const winners = winnersOf(entries).filter((e) => e.mention !== null || e.sources.includes('X-Failed-Recipients') || isAboutIt(e))
  const chosen = winners.slice(0, MAX_RECIPIENTS).map(({ address, mention }) => {
    const from = mention === null ? undefined : forwardedBelow(mentions, mention)
    // within a paragraph, a second mention belongs to the reason
    const begins = (m: Mention) => isListed(m) && (notice.lines[m.line - 1] ?? '').trim() === ''
    const named = mentions.filter((m) => same(m.address, address) && (m === mention || begins(m)))
    return { recipient: address, mentions: named, ...(from === undefined || same(from, address) ? {} : { originalRecipient: from }) }
  })
  const possible = new Set(
    entries.flatMap((e) => (e.excludedBecause === null && !CONTACT.test(e.address) ? [e.address.toLowerCase()] : [])),
  )
  const named = mentions.filter((m) => possible.has(m.address.toLowerCase()))
  return { chosen, mentions: named, candidates: entries.map((entry) => explained(entry, winners)) }
}

function entriesOf(mail: Mail, notice: Notice, mentions: readonly Mention[], known: string | undefined): Entry[] {
  const { original, failedRecipients } = notice
  const subject = mail.fields.first('subject') ?? ''
  const senders = sendersOf(mail, notice)
  const named: readonly (readonly [Source, readonly string[]])[] = [
    ['X-Failed-Recipients', failedRecipients],
    ["original's Received", envelopeRecipientsIn(original.header)],
    ["original's To", [...recipientsIn(original.header), ...mentions.filter((m) => m.form === 'summary').map((m) => m.address)]],
    ['return path', [...(known === undefined ? [] : [known]), ...verpOf(mail)]],
    ['subject', subject.includes('@') ? addressesIn(subject) : []],
  ]
  const sources = new Map<string, { address: string; of: Source[] }>()
  for (const [source, addresses] of named)
    for (const address of addresses) {
      const key = address.toLowerCase()
      const entry = sources.get(key) ?? { address, of: [] }
      sources.set(key, entry)
      if (!entry.of.includes(source)) entry.of.push(source)
    }
  const best = new Map<string, Mention>()
  const places = new Map<string, Mention[]>()
  for (const m of mentions) {
    const key = m.address.toLowerCase()
    const other = best.get(key)
    places.set(key, [...(places.get(key) ?? []), m].slice(0, 10))
    if (other === undefined || scoreOf(m) > scoreOf(other) || (scoreOf(m) === scoreOf(other) && isListed(m) && !isListed(other)))
      best.set(key, m)
  }
  // who is greeted, or named as the sender, is that in every sentence
  const excluded = new Map(mentions.flatMap((m) => (m.excludedBecause === undefined ? [] : [[m.address.toLowerCase(), m.excludedBecause]])))
  const keys = [...new Set([...failedRecipients.map((a) => a.toLowerCase()), ...best.keys(), ...sources.keys()])]
  return keys.map((key) => {
    const mention = best.get(key) ?? null
    const { address, of } = sources.get(key) ?? { address: mention?.address ?? key, of: [] }
    const score = (mention === null ? 0 : scoreOf(mention)) + of.reduce((sum, source) => sum + SOURCE_SCORE[source], 0)
    const excludedBecause = of.includes('X-Failed-Recipients')
      ? null
      : (whyNot(key, mention, senders, notice) ??
        (mention?.form === 'sentence' && !mention.saysRecipient ? (excluded.get(key) ?? null) : null))
    return { address: mention?.address ?? address, mentions: places.get(key) ?? [], mention, sources: of, score, excludedBecause }
  })
}

/** Addresses for questions: they win only if nobody else is named as well. */
const CONTACT =
  /^(?:help|helpdesk|support|info|contact|service|kundenservice|cs|abuse|admin|postmaster|soporte|tuki|ajuda|assistenza|pomoc)@/i
/** More for words that say that it is the recipient. */
const SAYS_RECIPIENT_SCORE: Readonly<Partial<Record<Form, number>>> = { labelled: 2, sentence: 1 }
const CONTACT_PENALTY = 3

function scoreOf({ form, saysRecipient, excludedBecause, address }: Mention): number {
  if (excludedBecause !== undefined) return 0
  if (saysRecipient) return FORM_SCORE[form] + (SAYS_RECIPIENT_SCORE[form] ?? 0)
  return FORM_SCORE[form] - (CONTACT.test(address) ? CONTACT_PENALTY : 0)
}

/** The addresses of the failed message's sender, and of the notice's own. */
function sendersOf({ fields }: Mail, { original }: Notice): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  const add = (why: string, values: readonly string[]) => {
    for (const value of values) for (const address of addressesIn(value)) found.set(address.toLowerCase(), why)
  }
  add("the original's sender", [...(original.sender === undefined ? [] : [original.sender]), ...authorsIn(original.header)])
  add('whom the notice went to', [...fields.all('to').slice(0, 5), ...fields.all('delivered-to').slice(0, 5)])
  add('who wrote the notice', [
    ...fields.all('from').slice(0, 2),
    ...fields.all('sender').slice(0, 2),
    ...fields.all('reply-to').slice(0, 2),
  ])
  return found
}

function whyNot(key: string, mention: Mention | null, senders: ReadonlyMap<string, string>, { original }: Notice): string | null {
  const sender = senders.get(key)
  if (sender !== undefined) return sender
  if (original.messageId?.toLowerCase() === key) return "the original's Message-ID"
  if (isDaemon(key) && mention?.form !== 'alone' && mention?.form !== 'line start' && mention?.saysRecipient !== true)
    return 'the address of a mail system'
  if (mention?.form === 'forwarded') return 'the address that was forwarded'
  return mention?.excludedBecause ?? null
}

/** `bounces+ann=example.org@…`: the recipient within the address that the notice came to (VERP). */
function verpOf({ fields }: Mail): string[] {
  return fields.all('to').slice(0, 2).flatMap(addressesIn).flatMap(recipientWithin)
}

function recipientWithin(address: string): string[] {
  const local = address.slice(0, address.lastIndexOf('@'))
  const equals = local.lastIndexOf('=')
  const plus = local.indexOf('+')
  // `bounces-123-ann=example.org`: numbers name the mail, not the recipient
  const name =
    plus >= 0
      ? local.slice(plus + 1, Math.max(equals, 0))
      : local.slice(local.indexOf('-') + 1, Math.max(equals, 0)).replace(/^(?:\d{1,20}-)+/, '')
  const domain = local.slice(equals + 1)
  // BATV (`prvs=tag=ann`) signs the sender
  if (equals <= 0 || name === '' || local.startsWith('prvs=')) return []
  return /^[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8}$/i.test(domain) ? [`${name}@${domain}`] : []
}

const isListed = (m: Mention): boolean => LISTED.includes(m.form)
/** Forms that lists of recipients have. */
export const LISTED: readonly (Form | null)[] = ['alone', 'line start', 'labelled']

/** The entries that the notice is about. */
function winnersOf(entries: readonly Entry[]): readonly Entry[] {
  const failed = entries.filter((e) => e.sources.includes('X-Failed-Recipients'))
  if (failed.length > 0) return listedInstead(failed, entries) ?? failed
  const named = entries.filter((e) => e.excludedBecause === null && e.mention !== null && e.mention.form !== 'summary')
  const best = bestOf(named)
  if (best !== null && LISTED.includes(best.mention?.form ?? null)) return named.filter((e) => e === best || isInListOf(best, e))
  if (best !== null) return named.filter((e) => e === best || isBeside(best, e))
  return fallbackWinners(entries)
}

/**
 * The addresses that the notice lists instead of those in X-Failed-Recipients: none of them, and as many. Exim writes the addresses
 * before forwarding into the field in some versions, and those behind it into the list.
 */
function listedInstead(failed: readonly Entry[], entries: readonly Entry[]): readonly Entry[] | null {
  if (failed.some((e) => e.mention !== null)) return null
  const listed = entries.filter((e) => e.excludedBecause === null && e.mention !== null && ['alone', 'line start'].includes(e.mention.form))
  return listed.length === failed.length ? listed : null
}

/** The notice names nobody but, perhaps, the sender: then the forwarded address, or the original's only recipient. */
function fallbackWinners(entries: readonly Entry[]): readonly Entry[] {
  const forwarded = entries.filter((e) => e.mention?.form === 'forwarded')
  if (forwarded.length > 0) return forwarded
  // the message went to a list or an alias that leads back to its sender: a reason stands behind the sender's address
  const itself = entries.filter((e) => e.mention?.form === 'line start' && e.mention.excludedBecause === undefined)
  if (itself.length > 0) return itself.slice(0, 1)
  for (const source of ['return path', "original's Received", "original's To"] as const) {
    const from = entries.filter((e) => e.sources.includes(source) && e.excludedBecause === null)
    if (from.length === 1) return from
  }
  // the author wrote to himself: his address is named as the recipient by the notice and by the original
  const self = entries.filter((e) => e.sources.length > 0 && (e.mention === null || LISTED.includes(e.mention.form)))
  const listed = self.filter((e) => e.mention !== null)
  return listed.length > 0 ? listed.slice(0, 1) : self.length === 1 ? self : []
}

function bestOf(entries: readonly Entry[]): Entry | null {
  let best: Entry | null = null
  for (const entry of entries) if (best === null || entry.score > best.score) best = entry
  return best
}

/** Whether an address stands in the same list: laid out in the same way, or confirmed by another source as the best one is. */
function isInListOf(best: Entry, { mentions, sources }: Entry): boolean {
  const of = best.mention as Mention
  const listed = mentions.filter((m) => isListed(m) && m.excludedBecause === undefined)
  const isLaidOutAlike = (m: Mention) => m.layout === of.layout && (m.form === of.form || (m.form !== 'labelled' && of.form !== 'labelled'))
  return listed.some(isLaidOutAlike) || (listed.length > 0 && sources.length > 0)
}

/** Whether an address stands beside the best one in the same sentence. */
const isBeside = (best: Entry, { mention, score }: Entry): boolean =>
  mention !== null && mention.line === best.mention?.line && mention.saysRecipient && score >= best.score

/** The address from which this one was generated, named on the lines below it. */
function forwardedBelow(mentions: readonly Mention[], of: Mention): string | undefined {
  for (const m of mentions) {
    if (m.line < of.line || (m.line === of.line && m === of)) continue
    if (m.form === 'forwarded') return m.line <= of.line + 4 ? m.address : undefined
    if (m.line > of.line && LISTED.includes(m.form) && m.form === of.form) return undefined
  }
  return undefined
}

function explained(entry: Entry, winners: readonly Entry[]): Candidate {
  const { address, mention, sources, score, excludedBecause } = entry
  const won = winners.includes(entry)
  const why = won
    ? excludedBecause === null
      ? whyWon(entry)
      : `${excludedBecause}, but nobody else is named`
    : (excludedBecause ?? 'others have more for them')
  return { address, form: mention?.form ?? null, line: mention === null ? null : mention.line + 1, sources, score, won, why }
}

const WORDS: Readonly<Record<Form, string>> = {
  alone: 'alone on its line',
  'line start': 'at the beginning of its line',
  labelled: 'behind a label',
  forwarded: 'as the address that was forwarded',
  sentence: 'in a sentence',
  summary: 'in a summary of the original',
}

const whyWon = ({ mention, sources }: Entry): string =>
  [...(mention === null ? [] : [WORDS[mention.form]]), ...sources.map((s) => `named by ${s}`)].join(', ')

const same = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase()
