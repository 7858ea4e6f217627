/** Phrases in replies about a recipient. */

/** Characters of a reply's text that count: one of a megabyte must not hold up the others. */
export const MAX_TEXT = 2000

/** Phrases for a recipient that does not exist or is closed for good, in lower case. */
const RECIPIENT_TEXTS = [
  'user unknown',
  'unknown user',
  'no such user',
  'no such recipient',
  'no such mailbox',
  'no such address',
  'no such person',
  'no mailbox here by that name',
  'unknown recipient',
  'recipient unknown',
  'not listed in',
  'recipient name is not recognized',
  'user account unknown',
  'no mailbox by that name',
  'not known at',
  'does not have a match',
  'does not exist at this',
  'does not exist on this',
  // German, French, Dutch, Spanish, Portuguese, Italian, Polish, Russian, Japanese, Chinese, Korean
  'existiert nicht',
  'unbekannter empfänger',
  'empfänger unbekannt',
  'utilisateur inconnu',
  'adresse inconnue',
  "n'existe pas",
  'bestaat niet',
  'no existe',
  'usuario desconocido',
  'não existe',
  'usuário desconhecido',
  'non esiste',
  'utente sconosciuto',
  'nie istnieje',
  'не существует',
  'не найден',
  '存在しません',
  '見つかりません',
  '不存在',
  '존재하지',
  'no matching name',
  'did not match any',
  'unknown mailbox',
  'mailbox unknown',
  'unknown address',
  'address unknown',
  'user not found',
  'recipient not found',
  'mailbox not found',
  'address not found',
  'user does not exist',
  "user doesn't exist",
  'mailbox does not exist',
  "mailbox doesn't exist",
  'recipient does not exist',
  'address does not exist',
  'account does not exist',
  'account that you tried to reach does not exist',
  "this user doesn't have a",
  'invalid recipient',
  'invalid mailbox',
  'not a valid mailbox',
]

/** Phrases for a mailbox that exists, but was closed (RFC 3463 X.2.1), in lower case. */
const DISABLED_TEXTS = [
  'mailbox is disabled',
  'mailbox disabled',
  'account is disabled',
  'account has been disabled',
  'account disabled',
  'inactivated',
  'deactivated',
]

/**
 * Signs that a text is not about the recipient's mailbox: after a failed sender callout, "user unknown" means our sender; "address not
 * found" may refer to our reverse DNS.
 */
const SENDER_TEXTS =
  /sender|return.path|mail from|callout|verif|for sending|response:|reverse|hostname|your (?:ip|host)|client host|\b(?:ptr|helo|dns|relay)\b/i

/** Texts about rate, quota, policy or reputation: whatever code comes with them, the mailbox may exist. */
const POLICY_TEXTS =
  /\b(?:rate|limits?|limited|too (?:many|much|fast|quickly|often)|quota|exceed(?:s|ed|ing)?|mailbox (?:is )?full|polic(?:y|ies)|reputation|spam|unsolicited|abus(?:e|ive)|block(?:ed|ing|list(?:ed)?)|black ?list(?:ed)?|deny ?list(?:ed)?|gr[ae]y ?list(?:ed|ing)?|throttl(?:ed|ing)|(?:this|per|an) (?:hour|minute|day)|dmarc|spf|dkim|access denied)\b/i

/** Without addresses and links: words within them do not count. */
const withoutNames = (text: string): string =>
  text
    .replace(/<[^<>]{0,320}>/g, ' ')
    .split(/\s+/)
    .filter((word) => !word.includes('@') && !/^https?:/i.test(word))
    .join(' ')

/** True if a text is about a rate, a quota, a policy or a reputation. */
export const speaksOfPolicy = (text: string): boolean => POLICY_TEXTS.test(withoutNames(text.slice(0, MAX_TEXT)))

/** True if a text is about the sender, a rate, a policy: then its words do not prove that the recipient is gone. */
export function speaksOfOtherThings(text: string): boolean {
  return speaksOfPolicy(text) || SENDER_TEXTS.test(text.slice(0, MAX_TEXT).replaceAll('relay recipient', ''))
}

/**
 * The subject and detail of a text about the recipient's mailbox: 1.1 if there is none, 2.1 if it was closed; null if the text says neither,
 * or is about something else (for replies without an enhanced code).
 */
export function recipientDetail(text: string): '1.1' | '2.1' | null {
  const lower = text.slice(0, MAX_TEXT).toLowerCase()
  const says = (phrases: readonly string[]) => phrases.some((phrase) => lower.includes(phrase))
  const detail = says(DISABLED_TEXTS) ? '2.1' : says(RECIPIENT_TEXTS) ? '1.1' : null
  return detail === null || speaksOfOtherThings(text) ? null : detail
}
