/** Feedback reports (RFC 5965): recognising them, and the return paths in them. */
import { type Mail, originalFields, type ParsedReport } from '../dsn/index.js'

/** The return paths that a feedback report (RFC 5965) names: `Original-Mail-From`, and the `Return-Path` of the message it holds. */
export function complaintReturnPaths(notification: ParsedReport, mail: Mail): string[] {
  const returnPath = originalFields(mail)
    .first('return-path')
    ?.replace(/^\s*<|>\s*$/g, '')
  return [notification.sender, returnPath].filter((a): a is string => a?.includes('@') === true)
}

/** Feedback types that are not complaints (RFC 5965 7.3, RFC 6591). */
export const NON_COMPLAINT_TYPES = ['not-spam', 'auth-failure']

/** Whether a mail could be a feedback report: those come to an address registered with the provider, not to a return path. */
export const mayBeComplaint = (mail: Uint8Array): boolean =>
  /feedback-report|complaint about message from|x-apple-unsubscribe|notificationtype/i.test(
    Buffer.from(mail.buffer, mail.byteOffset, Math.min(mail.byteLength, 64 * 1024)).toString('latin1'),
  )
