/** The demo's three receiving systems: real SMTP servers on 127.0.0.1. */
import { SMTPServer } from 'smtp-server'

export const NOT_NOW = '421 4.3.2 System not accepting network messages'
export const NO_SUCH_USER = '550 5.1.1 The mailbox does not exist: user unknown'

export interface PlayedSystem {
  readonly port: number
  readonly taken: () => number
  close(): Promise<void>
}

/** The negative reply to the n-th connection, at the banner or at RCPT; none if the mail is accepted. */
export type Role = (connection: number) => { banner?: string; rcpt?: string }

export const busy: Role = (connection) => (connection === 1 ? { rcpt: NOT_NOW } : {})
export const comesBack: Role = (connection) => (connection <= 2 ? { banner: NOT_NOW } : {})
export const staysDown: Role = () => ({ banner: NOT_NOW })
export const movedAway: Role = (connection) => (connection === 1 ? { banner: NOT_NOW } : { rcpt: NO_SUCH_USER })

const nonRetryable = (reply: string) => Object.assign(new Error(reply.slice(4)), { responseCode: Number(reply.slice(0, 3)) })

/** Starts a server with the role's replies, on a free port. */
export async function play(name: string, role: Role): Promise<PlayedSystem> {
  let connections = 0
  let taken = 0
  const server = new SMTPServer({
    name: `mx.${name}`,
    disabledCommands: ['AUTH', 'STARTTLS'],
    hideENHANCEDSTATUSCODES: true,
    disableReverseLookup: true,
    onConnect: (_session, done) => {
      connections += 1
      const { banner } = role(connections)
      done(banner === undefined ? null : nonRetryable(banner))
    },
    onRcptTo: (_address, _session, done) => {
      const { rcpt } = role(connections)
      done(rcpt === undefined ? null : nonRetryable(rcpt))
    },
    onData: (stream, _session, done) => {
      stream.on('end', () => {
        taken += 1
        done(null, `2.0.0 Ok: taken by mx.${name}`)
      })
      stream.resume()
    },
  })
  server.on('error', () => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  const { port } = server.server.address() as { port: number }
  return { port, taken: () => taken, close: () => new Promise((resolve) => server.close(() => resolve())) }
}
