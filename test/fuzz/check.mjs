// Invariants of the parser's result for any mail.
const ACTIONS = ['failed', 'delayed', 'delivered', 'relayed', 'expanded']

/** The problem with the parser's result for a mail, or null. */
export async function problemOf(mail, parseReport, UnreadableMail) {
  let read
  try {
    read = await parseReport(mail)
  } catch (error) {
    return error instanceof UnreadableMail ? null : `it threw ${error.stack}`
  }
  if (read === null) return null
  if (!['bounce', 'complaint', 'automatic answer'].includes(read.kind)) return `kind ${read.kind}`
  if (read.recipients.length > 1001) return `${read.recipients.length} recipients`
  for (const one of read.recipients) {
    if (typeof one.recipient !== 'string' || !one.recipient.includes('@') || one.recipient.length > 1000)
      return `recipient ${JSON.stringify(one.recipient).slice(0, 100)}`
    if (!ACTIONS.includes(one.action)) return `action ${one.action}`
    if (one.status !== undefined && !/^[245]\.\d{1,3}\.\d{1,3}$/.test(one.status)) return `status ${one.status}`
    for (const at of [one.lastAttemptAt, one.willRetryUntil])
      if (at !== undefined && Number.isNaN(at.getTime())) return 'a date that is none'
  }
  if (read.original !== undefined && read.returned !== 'whole') return 'an original that is not whole'
  if (read.messageId !== undefined && (/[\s<>]/.test(read.messageId) || read.messageId.length > 998))
    return `Message-ID ${JSON.stringify(read.messageId).slice(0, 100)}`
  JSON.stringify({ ...read, original: undefined })
  return null
}
