/** softbounce codec-server: decrypts payloads for the Web UI. */
import { once } from 'node:events'
import type { Command } from 'commander'
import { readSettings } from '../config/index.js'
import { CommandFailed, line } from './output.js'

export function addCodecServer(program: Command): void {
  program
    .command('codec-server')
    .description('decrypt payloads for the Web UI, until SIGTERM or SIGINT')
    .action(async () => {
      const { encryption } = readSettings()
      if (encryption.keys.length === 0)
        throw new CommandFailed('ENCRYPTION_KEYS is not set: nothing is encrypted, and there is nothing to decrypt', 2)
      const { serveCodec } = await import('../encryption/codec-server.js')
      const server = await serveCodec(encryption)
      const { host, port } = encryption.codecServer.listen
      const token = encryption.codecServer.token === null ? '' : '/TOKEN (that of CODEC_TOKEN)'
      line(
        `the codec server is ready; in the Web UI, give as codec server: http://${host.includes(':') ? `[${host}]` : host}:${port}${token}`,
      )
      await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')])
      server.close()
      server.closeAllConnections()
    })
}
