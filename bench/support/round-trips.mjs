// A way to PostgreSQL that counts round trips: how often a client sends something after it was answered.
import { connect, createServer } from 'node:net'

/** @param url of the database. */
export async function countRoundTrips(url) {
  const target = new URL(url)
  const counted = { trips: 0 }
  const server = createServer((client) => {
    const database = connect(Number(target.port), target.hostname)
    let isAsking = false
    client.on('data', (data) => {
      if (!isAsking) counted.trips += 1
      isAsking = true
      database.write(data)
    })
    database.on('data', (data) => {
      isAsking = false
      client.write(data)
    })
    for (const [one, other] of [
      [client, database],
      [database, client],
    ]) {
      one.on('error', () => other.destroy())
      one.on('close', () => other.destroy())
    }
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const through = new URL(url)
  Object.assign(through, { hostname: '127.0.0.1', port: String(server.address().port) })
  return Object.assign(counted, { url: through.href, close: () => server.close() })
}
