/** The relay: reachable, TLS, login, and what its EHLO reply offers. Nothing is sent. */
import SMTPConnection from 'nodemailer/lib/smtp-connection'
import { hasNextHop, type Settings } from '../config/index.js'
import { MAX_MESSAGE_BYTES } from '../delivery/canonical-message.js'
import { type NextHop, nameOf } from '../delivery/next-hop.js'
import { offers, sizeLimit } from '../delivery/smtp/missing-extension.js'
import { ProtocolTracker } from '../delivery/smtp/protocol-tracker.js'
import { describe } from '../temporal/activity-errors.js'
import { type Finding, failure, ok, warning } from './finding.js'

const CHECK = 'relay'
const WITHIN_MS = 10_000

export async function checkRelay(settings: Settings): Promise<Finding[]> {
  const { paths, direct, ehloDomain, timeouts } = settings
  const { relay, routes } = paths
  if (relay === null)
    return hasNextHop(settings)
      ? [ok(CHECK, direct === null ? `mail goes by ${routes.length} static route(s)` : 'mail goes directly to the MX hosts')]
      : [failure(CHECK, 'nothing says where retries go', 'set relay.url, routes, or direct.enabled')]
  const tracker = new ProtocolTracker(timeouts, () => {})
  const connection = new SMTPConnection({
    ...{ host: relay.host, port: relay.port, name: ehloDomain, secure: relay.tls === 'implicit', requireTLS: relay.tls === 'verify' },
    ...{ opportunisticTLS: relay.tls === 'opportunistic', ignoreTLS: relay.tls === 'off', logger: tracker.logger, transactionLog: true },
    tls: { rejectUnauthorized: relay.tls === 'verify' || relay.tls === 'implicit', ...(relay.ca === undefined ? {} : { ca: relay.ca }) },
    ...{ connectionTimeout: WITHIN_MS, greetingTimeout: WITHIN_MS, socketTimeout: WITHIN_MS },
  })
  try {
    await login(connection, relay)
    const secured = connection.secure ? 'with TLS' : 'without TLS'
    return [
      ok(CHECK, `${nameOf(relay)} answers, ${secured}${relay.credentials === undefined ? '' : ', and accepts the login'}`),
      ...checkExtensions(tracker.ehlo),
    ]
  } catch (error) {
    return [failure(CHECK, `${nameOf(relay)}: ${describe(error)}`, 'correct relay.url, relay.tls or the login, or start the relay')]
  } finally {
    connection.quit()
    connection.close()
  }
}

function login(connection: SMTPConnection, { credentials }: NextHop): Promise<void> {
  return new Promise((resolve, reject) => {
    connection.once('error', reject)
    connection.connect((error) => {
      if (error) reject(error)
      else if (credentials === undefined) resolve()
      else connection.login({ ...credentials }, (failed) => (failed ? reject(failed) : resolve()))
    })
  })
}

function checkExtensions(ehlo: string): Finding[] {
  const found: Finding[] = []
  found.push(
    offers(ehlo, 'DSN')
      ? ok(CHECK, 'it offers DSN: deliveries are confirmed by report')
      : warning(
          CHECK,
          'it does not offer DSN',
          "deliveries end as unconfirmed after relay.confirmWithin; set the provider's webhook, or relay.transparent if its replies are the receiving system's",
        ),
  )
  const size = sizeLimit(ehlo)
  if (size > 0 && size < MAX_MESSAGE_BYTES) found.push(ok(CHECK, `it accepts messages of up to ${Math.floor(size / 1024 / 1024)} MiB`))
  return found
}
