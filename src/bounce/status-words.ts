/** Derives a status from the wording of a text. */
import { recipientDetail } from './recipient-texts.js'

/** Phrases of systems that give no code, in lower case, by the subject and detail they mean. The first match counts. */
const WORDS: readonly (readonly [string, readonly string[]])[] = [
  [
    '2.2',
    [
      'mailbox is full',
      'mailbox full',
      'mailfolder is full',
      'quota',
      'exceeded the local limit',
      'mailbox exceeds',
      'over limit',
      'postfach ist voll',
      'postfach voll',
      'boîte pleine',
      'est pleine',
      'buzón lleno',
      'está lleno',
      'caixa cheia',
      'casella piena',
      'mailbox vol',
      'skrzynka pełna',
      'переполнен',
      '容量',
      'いっぱい',
      '信箱已滿',
      '邮箱已满',
    ],
  ],
  ['3.4', ['size limit', 'too large', 'too big', 'exceeds the maximum', 'message size']],
  [
    '4.7',
    [
      'retry timeout exceeded',
      'message expired',
      'delivery time expired',
      'time limit',
      'gave up',
      'no longer trying',
      'stopped trying',
      'retry time not reached',
      'in the queue too long',
      'giving up',
      'given up',
      'delivery retry timeout',
      'was aborted after',
      'not delivered within',
      'delivery failed 20 attempts',
      'have been unsuccessful',
      'multiple retries',
      'for the last',
      'has been delayed',
      'will be retried',
      'not yet been delivered',
    ],
  ],
  ['4.1', ['connection refused', 'connection timed out', 'not responding', 'host not reachable', 'did not accept our requests to connect']],
  ['4.6', ['loops back to myself', 'mail loop', 'too many hops', 'message looping']],
  [
    '4.4',
    [
      'unrouteable address',
      'unrouteable mail domain',
      'host unknown',
      'unknown host',
      'host not found',
      'no mx record',
      'could not find a gateway',
      'no such domain',
      'nxdomain',
      'domain name not found',
      'domain does not exist',
      'unknown domain',
    ],
  ],
  ['4.3', ['try again', 'host name lookup failure', 'dns error', 'name service error']],
]

/**
 * The status that a text's wording means; x.0.0 if no phrase matches, null if the text is empty. The class shows only whether the
 * system gave up, not whether the problem is permanent (5.4.7: the message expired after days of retries).
 */
export function statusOfWords(text: string, givenUp: boolean): string | null {
  if (text.trim() === '') return null
  const lower = text.toLowerCase()
  const detail = recipientDetail(text) ?? WORDS.find(([, phrases]) => phrases.some((phrase) => lower.includes(phrase)))?.[0]
  return `${givenUp ? 5 : 4}.${detail ?? '0.0'}`
}

/** True if a text reports that the host did not answer: then a bare 421 comes from the sending system itself, and means 4.4.1. */
export const saysNobodyAnswered = (text: string): boolean => NOBODY_ANSWERED.test(text)

const NOBODY_ANSWERED =
  /\btimed? ?out\b|\btimeout\b|unreachable|not reachable|no route to host|not respond|no response|no answer|connection refused|refused (?:the |your )?connection|(?:could not|couldn't|cannot|can't|unable to|failed to) connect/i
