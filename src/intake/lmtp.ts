/**
 * The LMTP intake (RFC 2033): a mail system delivers its bounce domain here. Each recipient gets a reply: 250 once the bounce is applied
 * and recorded; 451 4.3.0 while Temporal or the database is unavailable, so that the mail system keeps it.
 */
import { chmod, unlink } from 'node:fs/promises'
import { type AddressInfo, connect } from 'node:net'
import { SMTPServer, type SMTPServerDataStream, type SMTPServerSession } from 'smtp-server'
import type { Settings } from '../config/index.js'
import type { Log, Logger } from '../logger.js'
import type { IntakeResult } from './apply.js'
import type { MailReceiver } from './receive-mail.js'

/** Idle timeout of a connection. */
const IDLE_MS = 5 * 60 * 1000
/** Further connections get a 421. Postfix opens at most 20 to one destination. */
const MAX_CONNECTIONS = 20

/** Recipients of one mail that are processed at once. */
const LANES = 16

export interface LmtpServer {
  /** The listening port (assigned by the system if 0 is configured); null for a socket path. */
  readonly port: number | null
  /** Stops listening, and finishes the mails being received. */
  close(): Promise<void>
}

/** The part of smtp-server's connections that we use. */
interface Idle {
  readonly session?: { readonly id: string }
  send(code: number, text: string): void
  close(): void
}

type Replies = (error: Error | null, replies?: (string | Error)[]) => void

/**
 * Listens for LMTP.
 * @throws Error if the address is in use, or cannot be listened on.
 */
export async function serveLmtp(intake: MailReceiver, settings: Settings['intake'], logger: Logger): Promise<LmtpServer> {
  const { listen, maxBytes } = settings
  if (listen === null) throw new Error('intake.listen is not set')
  /** Sessions whose mail is being received. */
  const busy = new Set<string>()
  let stopping = false
  const server = new SMTPServer({
    lmtp: true,
    banner: 'softbounce',
    size: maxBytes,
    maxClients: MAX_CONNECTIONS,
    socketTimeout: IDLE_MS,
    closeTimeout: IDLE_MS,
    hideENHANCEDSTATUSCODES: true,
    disableReverseLookup: true,
    disabledCommands: ['AUTH', 'STARTTLS'],
    logger: false,
    onData: (stream, session, callback) => {
      busy.add(session.id)
      void answer(intake, stream, session, maxBytes, logger)
        .then(
          (replies) => (callback as Replies)(null, replies),
          (error: Error) => callback(Object.assign(error, { responseCode: 451 })),
        )
        .finally(() => {
          busy.delete(session.id)
          if (stopping) leave()
        })
    },
  })
  // close idle connections now, and busy ones after their replies
  const leave = () => {
    for (const connection of (server as unknown as { connections: Set<Idle> }).connections)
      if (!busy.has(connection.session?.id ?? '')) {
        connection.send(421, '4.3.2 softbounce is stopping')
        connection.close()
      }
  }
  if ('path' in listen) await removeStale(listen.path)
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const hint = error.code === 'EADDRINUSE' ? '; does another intake run there? Give another --lmtp or intake.listen' : ''
      reject(new Error(`the intake cannot listen: ${error.message}${hint}`))
    })
    if ('path' in listen) server.listen(listen.path as unknown as number, resolve)
    else server.listen(listen.port, listen.host, resolve)
  })
  server.removeAllListeners('error')
  server.on('error', (error) => logger.warn({ error: error.message }, 'an LMTP connection broke'))
  // the permissions of the socket's folder control who may deliver
  if ('path' in listen) await chmod(listen.path, 0o666)
  const address = server.server.address()
  return {
    port: typeof address === 'object' && address !== null ? (address as AddressInfo).port : null,
    close: () =>
      new Promise((resolve) => {
        stopping = true
        server.close(() => resolve())
        leave()
      }),
  }
}

async function answer(
  intake: MailReceiver,
  stream: SMTPServerDataStream,
  session: SMTPServerSession,
  maxBytes: number,
  logger: Logger,
): Promise<(string | Error)[]> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    size += chunk.length
    // read a mail that is too large to its end, without keeping it, so that the reply can be sent
    if (size <= maxBytes) chunks.push(chunk)
  }
  const { rcptTo, mailFrom } = session.envelope
  if (size > maxBytes) return rcptTo.map(() => reply(552, `5.3.4 the mail has more than ${maxBytes} bytes (intake.maxSize)`))
  const mail = Buffer.concat(chunks)
  const sender = mailFrom === false ? '' : mailFrom.address
  const replyTo = async (address: string): Promise<string | Error> => {
    try {
      const taken = await intake.take(mail, { recipients: [address], sender }, 'lmtp')
      logTaken(logger, taken, 'lmtp')
      return `2.0.0 ${summary(taken)}`
    } catch (error) {
      logger.warn({ error: causeOf(error), to: address }, 'a bounce could not be processed; the mail system keeps it')
      return reply(451, '4.3.0 not now: the database or Temporal does not answer; keep it')
    }
  }
  return inLanes(
    rcptTo.map(({ address }) => address),
    replyTo,
  )
}

/** The replies in the order of the addresses. Those of one local part come one after another: their bounces may be about the same send. */
async function inLanes<Result>(addresses: readonly string[], work: (address: string) => Promise<Result>): Promise<Result[]> {
  const groups = new Map<string, number[]>()
  for (const [i, address] of addresses.entries()) {
    const local = address.slice(0, address.lastIndexOf('@')).toLowerCase()
    groups.set(local, [...(groups.get(local) ?? []), i])
  }
  const results = new Array<Result>(addresses.length)
  const left = [...groups.values()]
  const lane = async () => {
    for (let group = left.shift(); group !== undefined; group = left.shift())
      for (const i of group) results[i] = await work(addresses[i] as string)
  }
  await Promise.all(Array.from({ length: Math.min(LANES, left.length) }, lane))
  return results
}

/** An error's message with its cause's: Temporal's client reports a failed connection there. */
export function causeOf(error: unknown): string {
  const { message, cause } = error as Error & { cause?: Error }
  return cause?.message === undefined ? message : `${message}: ${cause.message}`
}

const reply = (responseCode: number, text: string): Error => Object.assign(new Error(text), { responseCode })

/** The distinct dispositions, joined by commas. */
export const summary = (taken: readonly IntakeResult[]): string => [...new Set(taken.map((t) => t.disposition))].join(', ') || 'ignored'

/** Logs one line per recipient. */
export function logTaken(logger: Log, taken: readonly IntakeResult[], source: string): void {
  for (const { disposition, why, recipient, messageId, workflowId } of taken) {
    const fields = { source, disposition, why, recipient, messageId, workflowId }
    if (disposition === 'unauthenticated' || disposition === 'unreadable') logger.warn(fields, 'a bounce came in')
    else logger.info(fields, 'a bounce came in')
  }
}

/** Removes the socket of a process that died. @throws Error if another process listens on it. */
async function removeStale(path: string): Promise<void> {
  const alive = await new Promise<boolean>((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
  if (alive) throw new Error(`the intake cannot listen: another process listens on ${path}`)
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
}
