/** A Postfix for tests, in a temporary folder, on free ports of 127.0.0.1. Needs root, since Postfix changes users. */
import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../dev/dev-server/index.js'
import { programPath } from './programs.js'

export interface Postfix {
  readonly port: number
  /** Its configuration folder, as `postconf -c` and `postqueue -c` take it. */
  readonly config: string
  readonly log: () => string
  stop(): void
}

/** Undeliverable mail is bounced at once instead of after five days. */
const AT_ONCE = ['maximal_queue_lifetime = 0', 'bounce_queue_lifetime = 0']

/**
 * Starts Postfix with these extra lines of main.cf.
 * @param lifetimes its queue lifetimes; `[]` are the stock ones (5 d).
 */
export async function startPostfix(
  lines: readonly string[],
  master: readonly string[] = [],
  lifetimes: readonly string[] = AT_ONCE,
): Promise<Postfix> {
  const work = mkdtempSync(join(tmpdir(), 'softbounce-postfix-'))
  chmodSync(work, 0o755)
  const port = await freePort()
  const uid = Number(execFileSync('id', ['-u', 'postfix'], { encoding: 'utf8' }))
  for (const folder of ['etc', 'queue', 'data']) mkdirSync(join(work, folder))
  chownSync(join(work, 'data'), uid, 0)
  for (const file of ['postfix-files', 'dynamicmaps.cf'])
    if (existsSync(`/etc/postfix/${file}`)) cpSync(`/etc/postfix/${file}`, join(work, 'etc', file))
  const main = [
    'compatibility_level = 3.6',
    `queue_directory = ${work}/queue`,
    `data_directory = ${work}/data`,
    `maillog_file = ${work}/maillog`,
    `maillog_file_prefixes = ${work}`,
    'myhostname = mail.example.com',
    'mydomain = example.com',
    'mydestination =',
    'inet_interfaces = 127.0.0.1',
    'inet_protocols = ipv4',
    'mynetworks = 127.0.0.0/8',
    'smtpd_relay_restrictions = permit_mynetworks, reject',
    ...lifetimes,
    'alias_maps =',
    'alias_database =',
    'import_environment = MAIL_CONFIG',
    ...lines,
  ]
  writeFileSync(join(work, 'etc', 'main.cf'), `${main.join('\n')}\n`)
  const services = readFileSync('/usr/share/postfix/master.cf.dist', 'utf8')
    .replace(/^smtp {6}inet.*$/m, `127.0.0.1:${port} inet n - n - - smtpd`)
    // nothing is chrooted here
    .replace(/^(\S+ +(?:unix|inet|pass|fifo) +\S+ +\S+ +)y( )/gm, '$1n$2')
  writeFileSync(join(work, 'etc', 'master.cf'), services)
  if (!/^postlog/m.test(services)) appendFileSync(join(work, 'etc', 'master.cf'), 'postlog unix-dgram n - n - 1 postlogd\n')
  appendFileSync(join(work, 'etc', 'master.cf'), `${master.join('\n')}\n`)
  const postfix = programPath('postfix') as string
  execFileSync(postfix, ['-c', join(work, 'etc'), 'start'], { stdio: 'pipe' })
  return {
    port,
    config: join(work, 'etc'),
    log: () => (existsSync(join(work, 'maillog')) ? readFileSync(join(work, 'maillog'), 'utf8') : ''),
    stop: () => {
      try {
        execFileSync(postfix, ['-c', join(work, 'etc'), 'stop'], { stdio: 'pipe' })
      } finally {
        rmSync(work, { recursive: true, force: true })
      }
    },
  }
}
