/** The intake: something listens where bounces are handed over. */
import { connect } from 'node:net'
import type { Settings } from '../config/index.js'
import { describe } from '../temporal/activity-errors.js'
import { type Finding, failure, ok, warning } from './finding.js'

const CHECK = 'intake'
const WITHIN_MS = 5000

export async function checkIntake({ intake, mailbox, providers, httpPort }: Settings): Promise<Finding[]> {
  const { listen } = intake
  const named = Object.values(providers).some((secret) => secret !== undefined)
  if (listen === null)
    return mailbox !== null || named
      ? [
          ok(
            CHECK,
            mailbox === null
              ? `webhooks are configured on HTTP port ${httpPort} (not contacted)`
              : `the mailbox at ${mailbox.host} is configured (not contacted)`,
          ),
        ]
      : [
          warning(
            CHECK,
            'these settings do not say where bounces come in: not checked',
            "set intake.listen, intake.imap.url or a provider's secret, or run softbounce intake with --lmtp or --maildir",
          ),
        ]
  const where = 'path' in listen ? listen.path : `${listen.host}:${listen.port}`
  try {
    const banner = await greeting(listen)
    return [
      /^220 /.test(banner)
        ? ok(CHECK, `LMTP answers at ${where}`)
        : failure(CHECK, `${where} answers ${banner.trim().slice(0, 100)}`, 'something else listens there'),
    ]
  } catch (error) {
    return [failure(CHECK, `nothing listens at ${where}: ${describe(error)}`, 'start softbounce intake')]
  }
}

function greeting(at: { readonly path: string } | { readonly host: string; readonly port: number }): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(at)
    socket.setTimeout(WITHIN_MS, () => socket.destroy(new Error(`no answer within ${WITHIN_MS / 1000} s`)))
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('it closed without a greeting')))
    socket.once('data', (data) => {
      socket.end('QUIT\r\n')
      resolve(data.toString('latin1'))
    })
  })
}
