// A receiving system that records when each message began (MAIL) and was accepted, and its open connections. Its replies can be set.
import { SMTPServer } from 'smtp-server'

const nonRetryable = (text) => Object.assign(new Error(text.slice(4)), { responseCode: Number(text.slice(0, 3)) })

/**
 * @param {{ banner?: () => string | undefined, rcpt?: (address: string, client: string) => string | undefined, slowMs?: number }} how
 * replies that refuse a connection or a recipient (`client`: the EHLO name), and the time each message takes, ms.
 */
export async function startSink(how = {}) {
  const sink = { port: 0, connections: [], mails: [], taken: [], open: 0, mostOpen: 0, how }
  const server = new SMTPServer({
    disabledCommands: ['AUTH', 'STARTTLS'],
    hideENHANCEDSTATUSCODES: true,
    disableReverseLookup: true,
    onConnect: (_session, done) => {
      sink.connections.push(Date.now())
      sink.open += 1
      sink.mostOpen = Math.max(sink.mostOpen, sink.open)
      const text = sink.how.banner?.()
      done(text === undefined ? null : nonRetryable(text))
    },
    onClose: () => {
      sink.open -= 1
    },
    onMailFrom: (_address, _session, done) => {
      sink.mails.push(Date.now())
      done()
    },
    onRcptTo: ({ address }, session, done) => {
      const text = sink.how.rcpt?.(address, session.hostNameAppearsAs)
      done(text === undefined ? null : nonRetryable(text))
    },
    onData: (stream, session, done) => {
      stream.resume()
      stream.on('end', () => {
        sink.taken.push({ at: Date.now(), to: session.envelope.rcptTo[0]?.address })
        setTimeout(() => done(null, '2.0.0 Ok: queued'), sink.how.slowMs ?? 0)
      })
    },
  })
  server.on('error', () => {})
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  sink.port = server.server.address().port
  sink.close = () => new Promise((resolve) => server.close(resolve))
  return sink
}

/** The maximum number of `times` in any window of this length. */
export function mostIn(times, windowMs) {
  const sorted = [...times].sort((a, b) => a - b)
  let most = 0
  for (let from = 0, to = 0; to < sorted.length; to += 1) {
    while (sorted[to] - sorted[from] >= windowMs) from += 1
    most = Math.max(most, to - from + 1)
  }
  return most
}
