// Receiving systems and a relay that each misbehave in their own way and log what happened: the auditor's source of truth.
import { createServer } from 'node:net'

const NOT_NOW = '4.3.2 System not accepting network messages'
const STEPS = ['connect', 'banner', 'EHLO', 'MAIL', 'RCPT', 'DATA', 'content', 'final dot']

/** What each kind does at an SMTP step: null (pass), a reply to send, or one of `drop`, `stall`, `slow`, `take and drop`. */
const KINDS = {
  well: () => () => null,
  'down for ever': () => (step) => (step === 'RCPT' ? `451 ${NOT_NOW}` : null),
  'down at first': () => {
    const refused = new Map()
    return (step, { recipient }) => {
      if (step !== 'RCPT') return null
      const n = (refused.get(recipient) ?? 0) + 1
      refused.set(recipient, n)
      return n <= 2 ? `451 ${NOT_NOW}` : null
    }
  },
  flapping: (random) => {
    const offset = random.between(0, 6000)
    return (step) => (step === 'banner' && Math.floor((Date.now() + offset) / 3000) % 2 === 0 ? `421 ${NOT_NOW}` : null)
  },
  dropping: (random) => (step) => (random.chance(0.05) && step !== 'final dot' ? 'drop' : null),
  'dropping behind the dot': (random) => (step) =>
    step === 'final dot' && random.chance(0.5) ? random.pick(['drop', 'take and drop']) : null,
  stalling: (random) => () => (random.chance(0.04) ? 'stall' : null),
  tarpit: () => () => 'slow',
  gone: () => (step) => (step === 'RCPT' ? '550 5.1.1 no such user' : null),
  refusing: () => (step) => (step === 'final dot' ? '554 5.7.1 not wanted' : null),
  deferring: (random) => (step) => (step === 'final dot' && random.chance(0.4) ? `452 ${NOT_NOW}` : null),
}
export const SYSTEM_KINDS = Object.keys(KINDS)

/**
 * @param log receives `{ at, system, connection, step, ehlo?, recipient?, messageId?, said?, taken? }` for each thing that happened.
 */
export async function startSystem(name, kind, random, log) {
  const says = KINDS[kind](random)
  const sockets = new Set()
  let connections = 0
  const server = createServer((socket) => {
    connections += 1
    const connection = `${name}#${connections}`
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => {})
    const seen = { recipient: null, messageId: null, ehlo: null }
    const note = (step, more = {}) => log({ at: Date.now(), system: name, connection, step, ...seen, ...more })
    let content = null
    let rest = ''
    /** Sends the good reply unless the system misbehaves at this step; true if the dialogue goes on. */
    const reply = async (step, good, more = {}) => {
      const does = says(step, seen)
      if (does === 'stall') {
        note(step, { said: null, stalls: true })
        return false
      }
      if (does === 'drop' || does === 'take and drop') {
        note(step, { said: null, drops: true, ...(does === 'take and drop' ? { taken: true } : {}) })
        socket.destroy()
        return false
      }
      if (does === 'slow') await new Promise((resolve) => setTimeout(resolve, 150))
      const text = does === null || does === 'slow' ? good : does
      const refused = text !== good
      note(step, { said: text, refused, ...(refused ? {} : more) })
      if (!socket.destroyed) socket.write(`${text}\r\n`)
      if (text.startsWith('421')) socket.end()
      return !refused
    }
    const line = async (text) => {
      if (content !== null) {
        if (text !== '.') {
          content.push(text)
          return
        }
        seen.messageId = /^Message-ID: <([^>]+)>/im.exec(content.join('\n'))?.[1] ?? null
        content = null
        await reply('final dot', '250 2.0.0 taken', { taken: true })
        seen.recipient = null
        seen.messageId = null
        return
      }
      const [verb = ''] = text.toUpperCase().split(' ')
      if (verb === 'EHLO' || verb === 'HELO') {
        seen.ehlo = text.split(' ')[1] ?? null
        await reply('EHLO', `250 ${name}`)
      } else if (verb === 'MAIL') await reply('MAIL', '250 2.1.0 ok')
      else if (verb === 'RCPT') {
        seen.recipient = /<([^>]*)>/.exec(text)?.[1] ?? null
        await reply('RCPT', '250 2.1.5 ok')
      } else if (verb === 'DATA') {
        if (await reply('DATA', '354 go on')) content = []
      } else if (verb === 'QUIT') {
        socket.end('221 2.0.0 bye\r\n')
      } else socket.write('250 2.0.0 ok\r\n')
    }
    let working = Promise.resolve()
    socket.on('data', (chunk) => {
      rest += chunk.toString('latin1')
      const lines = rest.split('\r\n')
      rest = lines.pop()
      for (const one of lines) working = working.then(() => (socket.destroyed ? undefined : line(one)))
    })
    note('connect')
    working = working.then(() => reply('banner', `220 ${name} ESMTP`))
  })
  const listen = (port) => new Promise((resolve) => server.listen(port, '127.0.0.1', resolve))
  await listen(0)
  const { port } = server.address()
  const close = () => {
    for (const socket of sockets) socket.destroy()
    return new Promise((resolve) => server.close(resolve))
  }
  return { name, kind, port, close, open: () => listen(port) }
}

export { STEPS }
