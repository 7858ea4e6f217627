/** A TCP proxy that spoils connections: it leads elsewhere, like the address of a database that fails over, cuts, or alters what is sent. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface TcpProxy {
  readonly port: number
  /** How many connections it had. */
  readonly connections: number
  /** Bytes, of both directions, after which the next connections are cut by themselves. */
  cutAfter: number
  /** Where new connections lead; open ones stay. */
  leadTo(port: number): void
  /** Cuts the open connections. */
  cut(): void
  /** Bytes from the server pass through this; null cuts the connection. */
  alter(change: ((chunk: Buffer) => Buffer | null) | null): void
  close(): Promise<void>
}

export async function startProxy(port: number): Promise<TcpProxy> {
  let target = port
  let change: ((chunk: Buffer) => Buffer | null) | null = null
  const open = new Set<Socket>()
  const state = { cutAfter: Number.POSITIVE_INFINITY, connections: 0 }
  const server = createServer((near) => {
    state.connections += 1
    const far = connect(target, '127.0.0.1')
    const limit = state.cutAfter
    let bytes = 0
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(from)
      from.on('error', () => {})
      from.on('close', () => {
        open.delete(from)
        to.destroy()
      })
      from.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        // bytes before the cut still arrive
        if (bytes > limit) return void to.end(chunk.subarray(0, Math.max(0, limit - (bytes - chunk.length))), () => from.destroy())
        const sent = from === far && change !== null ? change(chunk) : chunk
        if (sent === null) to.destroy()
        else if (!to.destroyed && !to.write(sent)) from.pause()
      })
      to.on('drain', () => from.resume())
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const cut = () => {
    for (const socket of open) socket.destroy()
  }
  return Object.assign(state, {
    port: (server.address() as AddressInfo).port,
    leadTo: (to: number) => {
      target = to
    },
    cut,
    alter: (to: typeof change) => {
      change = to
    },
    close: async () => {
      cut()
      await new Promise((resolve) => server.close(resolve))
    },
  })
}
