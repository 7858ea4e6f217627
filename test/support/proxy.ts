/** A TCP proxy whose target can change, like the address of a database that fails over. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface TcpProxy {
  readonly port: number
  /** Where new connections lead; open ones stay. */
  leadTo(port: number): void
  /** Cuts the open connections. */
  cut(): void
  /** Bytes from the server pass through this. */
  alter(change: ((chunk: Buffer) => Buffer | null) | null): void
  close(): Promise<void>
}

export async function startProxy(port: number): Promise<TcpProxy> {
  let target = port
  let change: ((chunk: Buffer) => Buffer | null) | null = null
  const open = new Set<Socket>()
  const server = createServer((socket) => {
    const other = connect(target, '127.0.0.1')
    for (const [one, two] of [
      [socket, other],
      [other, socket],
    ] as const) {
      open.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        open.delete(one)
        two.destroy()
      })
    }
    socket.pipe(other)
    other.on('data', (chunk: Buffer) => {
      const altered = change === null ? chunk : change(chunk)
      if (altered !== null) socket.write(altered)
      else socket.destroy()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const cut = () => {
    for (const socket of open) socket.destroy()
  }
  return {
    port: (server.address() as AddressInfo).port,
    leadTo: (to) => {
      target = to
    },
    cut,
    alter: (to) => {
      change = to
    },
    close: async () => {
      cut()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
