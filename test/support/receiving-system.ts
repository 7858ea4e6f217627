/** Receiving systems for tests: real SMTP servers on free ports of 127.0.0.1, with scripted replies. */
import { spawn } from 'node:child_process'
import { createServer, type Server, type Socket } from 'node:net'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'

/** An accepted message. */
export interface Taken {
  readonly at: number
  readonly from: string
  readonly to: string[]
  readonly content: Buffer
}

/** Returns a reply such as `421 4.3.2 closing`, or undefined to accept. */
export type Say = (about: { readonly connection: number; readonly address?: string }) => string | undefined

export interface SystemOptions {
  readonly banner?: Say
  readonly mail?: Say
  readonly rcpt?: Say
  /** After the final dot. */
  readonly message?: Say
  readonly server?: Partial<SMTPServerOptions>
}

export interface ReceivingSystem {
  readonly port: number
  readonly taken: Taken[]
  /** When each connection was opened, ms. */
  readonly connections: number[]
  /** Most connections that were open at once. */
  mostOpen: number
  /** Its replies from now on. */
  say: SystemOptions
  close(): Promise<void>
  /** Listens again on the same port. */
  open(): Promise<void>
}

/** The refusal as an error for smtp-server: the text after the basic code stays as given. */
function nonRetryable(text: string): Error {
  return Object.assign(new Error(text.slice(4)), { responseCode: Number(text.slice(0, 3)) })
}

/** A server that accepts mail unless `say` returns a reply. */
export async function startReceivingSystem(
  say: SystemOptions = {},
  at: { readonly host?: string; readonly port?: number } = {},
): Promise<ReceivingSystem> {
  const taken: Taken[] = []
  const connections: number[] = []
  let openNow = 0
  const system = { port: at.port ?? 0, taken, connections, mostOpen: 0, say } as ReceivingSystem
  let server: SMTPServer
  const open = async () => {
    server = new SMTPServer({
      disabledCommands: ['AUTH', 'STARTTLS'],
      hideENHANCEDSTATUSCODES: true,
      disableReverseLookup: true,
      onConnect: (_session, done) => {
        connections.push(Date.now())
        openNow += 1
        system.mostOpen = Math.max(system.mostOpen, openNow)
        const text = system.say.banner?.({ connection: connections.length })
        done(text === undefined ? null : nonRetryable(text))
      },
      onClose: () => {
        openNow -= 1
      },
      onMailFrom: ({ address }, _session, done) => {
        const text = system.say.mail?.({ connection: connections.length, address })
        done(text === undefined ? null : nonRetryable(text))
      },
      onRcptTo: ({ address }, _session, done) => {
        const text = system.say.rcpt?.({ connection: connections.length, address })
        done(text === undefined ? null : nonRetryable(text))
      },
      onData: (stream, session, done) => {
        const chunks: Buffer[] = []
        stream.on('data', (chunk: Buffer) => chunks.push(chunk))
        stream.on('end', () => {
          const text = system.say.message?.({ connection: connections.length })
          if (text !== undefined) {
            done(nonRetryable(text))
            return
          }
          const { mailFrom, rcptTo } = session.envelope
          taken.push({
            at: Date.now(),
            from: mailFrom === false ? '' : mailFrom.address,
            to: rcptTo.map((r) => r.address),
            content: Buffer.concat(chunks),
          })
          done(null, '2.0.0 Ok: queued')
        })
      },
      ...system.say.server,
    })
    server.on('error', () => {})
    await new Promise<void>((resolve) => server.listen(system.port, at.host ?? '127.0.0.1', () => resolve()))
    Object.assign(system, { port: (server.server.address() as { port: number }).port })
  }
  Object.assign(system, { open, close: () => new Promise<void>((resolve) => server.close(() => resolve())) })
  await open()
  return system
}

export interface Script {
  readonly port: number
  /** What the client sent, all connections together. */
  readonly heard: string[]
  connections: number
  close(): Promise<void>
}

/**
 * A server that plays a dialogue line by line: `play` is called for the connection (command '') and for each command; what it returns is
 * written as it is; null closes the connection, undefined says nothing.
 */
export async function startScript(
  play: (command: string, socket: Socket, connection: number) => string | null | undefined,
): Promise<Script> {
  const heard: string[] = []
  const sockets = new Set<Socket>()
  const script = { port: 0, heard, connections: 0 } as Script & { port: number }
  const server: Server = createServer((socket) => {
    script.connections += 1
    const connection = script.connections
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    let data = false
    let rest = ''
    const answer = (command: string) => {
      const text = play(command, socket, connection)
      if (text === null) socket.destroy()
      else if (text !== undefined) {
        socket.write(text)
        if (command === 'DATA' && text.startsWith('354')) data = true
      }
    }
    answer('')
    socket.on('data', (chunk: Buffer) => {
      rest += chunk.toString('latin1')
      for (let end = rest.indexOf('\r\n'); end >= 0; end = rest.indexOf('\r\n')) {
        const line = rest.slice(0, end)
        rest = rest.slice(end + 2)
        heard.push(line)
        if (data && line !== '.') continue
        data = false
        answer(line)
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  script.port = (server.address() as { port: number }).port
  script.close = async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise<void>((resolve) => server.close(() => resolve()))
  }
  return script
}

/** Replies of a server that accepts everything, for scripts that change only some of them. */
export function polite(command: string): string | null {
  if (command === '') return '220 mx.example.org ESMTP\r\n'
  const verb = command.slice(0, 4).toUpperCase()
  if (verb === 'EHLO') return '250-mx.example.org\r\n250-SIZE 10000000\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n'
  if (verb === 'DATA') return '354 go on\r\n'
  if (verb === 'QUIT') return '221 2.0.0 bye\r\n'
  return '250 2.0.0 Ok\r\n'
}

/**
 * A host on which connecting times out: its accept queue stays full. In Python, as Node cannot make such a small backlog.
 */
export async function startBlackHole(host: string, port: number): Promise<{ close(): Promise<void> }> {
  const script = [
    'import socket,sys,time',
    's=socket.socket(); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1); s.bind((sys.argv[1],int(sys.argv[2]))); s.listen(0)',
    'full=[]',
    'for i in range(4):',
    '  c=socket.socket(); c.setblocking(False); c.connect_ex((sys.argv[1],int(sys.argv[2]))); full.append(c)',
    'time.sleep(0.2); print("full",flush=True); time.sleep(3600)',
  ].join('\n')
  const child = spawn('python3', ['-c', script, host, String(port)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve())
    child.once('error', reject)
  })
  return {
    close: async () => {
      child.kill('SIGKILL')
      await ended
    },
  }
}
