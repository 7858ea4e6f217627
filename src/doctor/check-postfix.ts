/** A Postfix on this machine: whether it hands 4.3.2 over at once, and its lifetimes (docs/how-to/postfix.md). */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { parseDuration } from '../bounce/index.js'
import type { Settings } from '../config/index.js'
import { describe } from '../temporal/activity-errors.js'
import { type Finding, ok, warning } from './finding.js'

const CHECK = 'Postfix'
const run = promisify(execFile)
const STOCK_MS = 5 * 24 * 60 * 60_000

/**
 * Nothing is reported if there is no Postfix.
 * @param config its configuration folder; null: the default.
 * @param domain what `{domain}` in returnPath.address stands for; null if unknown.
 */
export async function checkPostfix(settings: Settings, config: string | null, domain: string | null): Promise<Finding[]> {
  const { confirmWithinMs } = settings
  const at = config === null ? [] : ['-c', config]
  const names = [
    'smtp_delivery_status_filter',
    'default_delivery_status_filter',
    'transport_maps',
    'maximal_queue_lifetime',
    'bounce_queue_lifetime',
  ]
  let values: ReadonlyMap<string, string>
  try {
    const { stdout } = await run('postconf', [...at, ...names], { timeout: 5000 })
    values = new Map(stdout.split('\n').map((line) => [line.replace(/\s*=.*$/, ''), line.replace(/^[^=]*=\s*/, '')]))
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT'
      ? []
      : [
          warning(
            CHECK,
            `postconf fails: ${describe(error)}`,
            "give Postfix's configuration folder, which has main.cf, by --postfix-config",
          ),
        ]
  }
  return [await checkFilter(values, at), checkTransport(values, settings, domain), checkLifetimes(values, confirmWithinMs)]
}

async function checkFilter(values: ReadonlyMap<string, string>, at: readonly string[]): Promise<Finding> {
  const filter = expanded(values, 'smtp_delivery_status_filter')
  const recipe = 'set smtp_delivery_status_filter as docs/how-to/postfix.md has it, and run postfix reload'
  // also those of transports of their own, in master.cf
  const { stdout } = await run('postconf', [...at, '-P', '*/unix/smtp_delivery_status_filter'], { timeout: 5000 }).catch(() => ({
    stdout: '',
  }))
  const own = [...stdout.matchAll(/^(\S+?)\/unix\/smtp_delivery_status_filter\s*=\s*(\S.*)$/gm)].map(([, transport, table]) => ({
    transport,
    table,
  }))
  const filters = [...(filter === '' ? [] : [{ transport: 'every SMTP transport', table: filter }]), ...own] as {
    transport: string
    table: string
  }[]
  for (const { transport, table } of filters)
    if (await returnsAtOnce(table, at)) return ok(CHECK, `a 4.3.2 is returned at once (${transport})`)
  if (filters.length === 0) return warning(CHECK, 'a 4.3.2 stays in its queue for days before it is returned', recipe)
  const tables = filters.map(({ table }) => table).join(', ')
  return warning(CHECK, `its smtp_delivery_status_filter (${tables}) leaves a 4.3.2 in the queue, or cannot be read`, recipe)
}

async function returnsAtOnce(table: string, at: readonly string[]): Promise<boolean> {
  try {
    const { stdout } = await run('postmap', [...at, '-q', '4.3.2 host mx.example.org said: 421 4.3.2 no', table], { timeout: 5000 })
    return /^5\.3\.2 /.test(stdout)
  } catch {
    return false
  }
}

function checkTransport(values: ReadonlyMap<string, string>, { returnPaths, intake }: Settings, sender: string | null): Finding {
  const maps = values.get('transport_maps') ?? ''
  const template = returnPaths?.template.replace(/^.*@/, '') ?? ''
  const domain = sender === null && template.includes('{domain}') ? null : template.replaceAll('{domain}', sender ?? '')
  const { listen } = intake
  const lmtp = listen === null ? 'inet:[127.0.0.1]:2003' : 'path' in listen ? `unix:${listen.path}` : `inet:[${listen.host}]:${listen.port}`
  // the senders' own domain gets other mail too, which would reach the intake and nobody else
  if (template === '{domain}')
    return warning(
      CHECK,
      "returnPath.address is in the senders' own domain: a transport that leads it to the intake would take that domain's other mail too",
      'set returnPath.address to a subdomain of its own, such as bounce+{token}@bounces.{domain}; or lead only the bounce addresses to the intake, by an alias or a mailbox',
    )
  const recipe = `transport_maps = inline:{ ${domain || 'bounces.example.com'}=lmtp:${lmtp} }`
  if (maps === '') return warning(CHECK, 'transport_maps is empty: no transport leads bounces to the intake', recipe)
  // tables in files are Postfix's own to read
  if (!maps.startsWith('inline:')) return ok(CHECK, `transport_maps is set: ${maps.slice(0, 200)}`)
  if (domain === null) return warning(CHECK, `its transport_maps was not checked for ${template}`, 'give --domain example.com')
  if (domain === '' || maps.includes(domain)) return ok(CHECK, `transport_maps is set: ${maps.slice(0, 200)}`)
  return warning(CHECK, `transport_maps (${maps.slice(0, 200)}) has no entry for ${domain}`, recipe)
}

function checkLifetimes(values: ReadonlyMap<string, string>, confirmWithinMs: number): Finding {
  const [queue, bounce] = ['maximal_queue_lifetime', 'bounce_queue_lifetime'].map((name) => msOf(expanded(values, name)))
  if (queue === undefined || bounce === undefined)
    return warning(CHECK, 'its queue lifetimes cannot be read', 'check postconf maximal_queue_lifetime')
  // Postfix keeps a bounce no longer than any other message
  if (Math.min(queue, bounce) < STOCK_MS)
    return warning(
      CHECK,
      `its lifetimes are ${values.get('maximal_queue_lifetime')} and ${values.get('bounce_queue_lifetime')}: a bounce that cannot be delivered in that time is lost`,
      'leave maximal_queue_lifetime and bounce_queue_lifetime at 5d',
    )
  if (queue + 4_000_000 > confirmWithinMs)
    return warning(
      CHECK,
      'Postfix may bounce a retry after relay.confirmWithin, when it counts as delivered, unconfirmed, already',
      'raise relay.confirmWithin above its maximal_queue_lifetime and an hour',
    )
  return ok(CHECK, `maximal_queue_lifetime ${values.get('maximal_queue_lifetime')}, shorter than relay.confirmWithin`)
}

/** A value, with `$name` replaced by that of the parameter. */
function expanded(values: ReadonlyMap<string, string>, name: string): string {
  const value = values.get(name) ?? ''
  const reference = /^\$\{?(\w+)\}?$/.exec(value)?.[1]
  return reference === undefined || reference === name ? value : (values.get(reference) ?? '')
}

/** Postfix's times are in days if they have no unit here. */
function msOf(text: string): number | undefined {
  try {
    const weeks = /^(\d+)w$/.exec(text)?.[1]
    if (weeks !== undefined) return parseDuration(`${7 * Number(weeks)}d`)
    return parseDuration(/^\d+$/.test(text) ? `${text}d` : text)
  } catch {
    return undefined
  }
}
