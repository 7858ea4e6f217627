/** Notices in free text, of any mail system: the recipients that the rule chooses, each with what the notice says of it. */

import type { Mail } from '../mail.js'
import { noticeOf } from '../notice.js'
import { reportFromNotice } from '../notice-report.js'
import { reasonsOf } from '../reasons.js'
import { type Candidate, chooseRecipients } from '../recipients.js'
import type { ParsedReport } from '../report.js'

/** Reads a notice; its report is null if it names nobody. `known` is the recipient that the signed return path stands for. */
export function readNotice(
  mail: Mail,
  known?: string,
): { readonly report: ParsedReport | null; readonly candidates: readonly Candidate[] } {
  const notice = noticeOf(mail)
  const choice = chooseRecipients(mail, notice, known)
  const { chosen, candidates } = choice
  const reasons = reasonsOf(notice, choice)
  const found = chosen.map(({ recipient, originalRecipient }, i) => ({
    recipient,
    ...(originalRecipient === undefined ? {} : { originalRecipient }),
    reason: reasons[i] as string,
  }))
  return { report: reportFromNotice(mail, notice, found), candidates }
}
