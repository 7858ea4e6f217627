// LMTP and HTTP clients that cost their own process little.
import { connect } from 'node:net'

export const SECRET = 'a-secret-of-the-benchs-own'

/** LMTP with pipelining, so that the flood costs its sender little. */
export async function openLine(port) {
  const socket = connect(port, '127.0.0.1')
  socket.setNoDelay(true)
  let rest = ''
  let want = 0
  let replies = []
  let go = () => {}
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    rest += chunk.toString('latin1')
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
      const text = rest.slice(0, end)
      rest = rest.slice(end + 1)
      if (text[3] !== '-') replies.push(text)
    }
    if (replies.length >= want) go(replies.splice(0))
  })
  /** Resolves with this many replies. */
  const say = (text, count) => {
    want = count
    replies = []
    const heard = new Promise((resolve) => {
      go = resolve
    })
    socket.write(text)
    return heard
  }
  await say('', 1)
  await say('LHLO flood.example.com\r\n', 1)
  const deliverToAll = async (recipients, mail) => {
    await say(`MAIL FROM:<>\r\n${recipients.map((to) => `RCPT TO:<${to}>\r\n`).join('')}DATA\r\n`, recipients.length + 2)
    return (await say(`${mail}.\r\n`, recipients.length)).filter((reply) => reply.startsWith('250')).length
  }
  return { deliverToAll, close: () => socket.end('QUIT\r\n') }
}

/** HTTP over one connection that stays open: the flood shall cost its sender little. */
export async function openHttp(port) {
  const socket = connect(port, '127.0.0.1')
  socket.setNoDelay(true)
  let heard = ''
  let go = () => {}
  socket.on('error', () => go('no answer'))
  socket.on('data', (chunk) => {
    heard += chunk.toString('latin1')
    const head = heard.indexOf('\r\n\r\n')
    // the bodies are one short line
    if (head < 0 || !heard.endsWith('\n') || heard.length === head + 4) return
    const status = Number(heard.slice(9, 12))
    heard = ''
    go(status)
  })
  await new Promise((resolve) => socket.once('connect', resolve))
  return {
    post: (body) => {
      const answer = new Promise((resolve) => {
        go = resolve
      })
      socket.write(
        `POST /notifications/postmark HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nX-Softbounce-Secret: ${SECRET}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
      )
      return answer
    },
    close: () => socket.destroy(),
  }
}
