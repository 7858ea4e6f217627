/** softbounce codec-server: decrypts payloads for the Web UI. */
import { once } from 'node:events'
import type { Command } from 'commander'
import { isLoopback, parseListen, readSettings } from '../config/index.js'
import { CommandFailed, line } from './output.js'

const ORIGINS = ['localhost', '127.0.0.1'].flatMap((host) => [`http://${host}:8233`, `http://${host}:8080`])

function listenOn(text: string): { host: string; port: number } {
  const listen = parseListen(text)
  if ('path' in listen) throw new CommandFailed(`--listen ${text}: it must be host:port`, 2)
  return listen
}

function originOf(text: string): string {
  if (!URL.canParse(text) || new URL(text).origin !== text)
    throw new CommandFailed(`--origin ${text}: it must be an origin such as http://localhost:8233, without a path`, 2)
  return text
}

export function addCodecServer(program: Command): void {
  program
    .command('codec-server')
    .description('decrypt payloads for the Web UI, until SIGTERM or SIGINT')
    .option('--listen <address>', 'where it listens; beyond this machine only with encryption.codecToken', '127.0.0.1:8081')
    .option('--origin <url...>', 'the origins of the Web UIs that may ask it, such as https://cloud.temporal.io', ORIGINS)
    .action(async (options: { listen: string; origin: string[] }) => {
      const { keys, codecToken: token } = readSettings().encryption
      const { host, port } = listenOn(options.listen)
      const origins = options.origin.map(originOf)
      if (keys.length === 0) throw new CommandFailed('encryption.keys is not set: nothing is encrypted, and there is nothing to decrypt', 2)
      if (token === null && !isLoopback(host))
        throw new CommandFailed(`--listen ${options.listen}: others can reach ${host}, so encryption.codecToken must be set`, 2)
      const { serveCodec } = await import('../encryption/codec-server.js')
      const server = await serveCodec(keys, { host, port, origins, token })
      const shownToken = token === null ? '' : '/TOKEN (that of encryption.codecToken)'
      line(
        `the codec server is ready; in the Web UI, give as codec server: http://${host.includes(':') ? `[${host}]` : host}:${port}${shownToken}`,
      )
      await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')])
      server.close()
      server.closeAllConnections()
    })
}
