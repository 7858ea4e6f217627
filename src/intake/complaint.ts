/** Where a complaint (RFC 5965) shows the return path of the mail that it is about. */
import { headOf, type Mail, type Notification } from '../dsn/index.js'

/** The return paths that a feedback report names: `Original-Mail-From`, and the `Return-Path` of the message it holds. */
export function complaintReturnPaths(notification: Notification, mail: Mail): string[] {
  const embedded = mail.parts.find((p) => p.type === 'message/rfc822' || p.type === 'text/rfc822-headers')
  const returnPath = embedded === undefined ? undefined : headOf(embedded.content).first('return-path')
  return [notification.sender, returnPath?.replace(/^\s*<|>\s*$/g, '')].filter((a) => a?.includes('@')) as string[]
}
