/** softbounce destinations, pause, resume, release: the status of destinations, and how to steer them. */
import type { Command } from 'commander'
import { formatDuration, parseDuration } from '../bounce/index.js'
import type { DestinationInfo, SoftbounceClient } from '../client/index.js'
import { readSettings, type Settings } from '../config/index.js'
import { configuredLimits, connectionsOf, formatRate, parseRate, rateOf, relayOf, withManualLimits } from '../throttle/index.js'
import { CommandFailed, json, line, table } from './output.js'
import { limitOf, operator, withClient } from './with-client.js'

/** `destinations`, `pause`, `resume` and `release`. */
export function addDestinations(program: Command): void {
  const command = program
    .command('destinations')
    .description('list destinations: which are down, their rate and connections, how many messages wait, their last reply')
    .argument('[name]', 'one of them')
    .option('--limit <n>', 'maximum number', '100')
    .option('--json', 'print JSON, one object a line')
    .action((name: string | undefined, options: { limit: string; json?: boolean }) =>
      withClient(async (client) => {
        await show(client, name?.toLowerCase(), limitOf(options.limit), options.json === true)
      }),
    )
  command
    .command('pause')
    .description('hold the retries for a destination; no retry of the schedule is used up')
    .argument('<name>')
    .option('--json', 'print JSON')
    .action((name: string, options: { json?: boolean }) => withClient((client) => pause(client, name.toLowerCase(), options)))
  command
    .command('resume')
    .description('resume the retries for a destination, one after another')
    .argument('<name>')
    .option('--json', 'print JSON')
    .action((name: string, options: { json?: boolean }) => withClient((client) => resume(client, name.toLowerCase(), options)))
  command
    .command('limit')
    .description('limit a destination; this overrides the settings')
    .argument('<name>')
    .option('--rate <rate>', 'maximum number of messages, such as 2/s or 30/min; none removes the limit')
    .option('--connections <n>', 'maximum number of connections at once; none removes the limit')
    .option('--json', 'print JSON')
    .action((name: string, options: { rate?: string; connections?: string; json?: boolean }) =>
      withClient((client) => limit(client, name.toLowerCase(), options)),
    )
  program
    .command('pause')
    .description('hold all retries; no retry of the schedule is used up')
    .option('--json', 'print JSON')
    .action((options: { json?: boolean }) => withClient((client) => pause(client, undefined, options)))
  program
    .command('resume')
    .description('resume all retries, one after another')
    .option('--json', 'print JSON')
    .action((options: { json?: boolean }) => withClient((client) => resume(client, undefined, options)))
  program
    .command('release')
    .description('release the retries that wait for a destination, spread out over a time')
    .argument('<destination>')
    .option('--within <duration>', 'spread over this time', '1h')
    .option('--stop', 'stop the release that is under way; run again within a day, it goes on')
    .option('--detach', 'do not wait for its end')
    .option('--json', 'print JSON')
    .action((destination: string, options: ReleaseFlags) => withClient((client) => release(client, destination.toLowerCase(), options)))
}

interface ReleaseFlags {
  readonly within: string
  readonly stop?: boolean
  readonly detach?: boolean
  readonly json?: boolean
}

async function show(client: SoftbounceClient, name: string | undefined, limit: number, asJson: boolean): Promise<void> {
  const everything = await client.destinations.pausedAltogether()
  if (everything !== null && !asJson)
    line(`everything is paused since ${everything.since.toISOString()} by ${everything.by}; softbounce resume continues`)
  const one = name === undefined ? null : await client.destinations.get(name)
  if (name !== undefined && one === null)
    throw new CommandFailed(`${name} is not known: no retry has contacted it yet; softbounce destinations lists those that are`)
  const all = one === null ? await client.destinations.list(limit) : [one]
  const { throttle } = readSettings()
  if (asJson) {
    for (const standing of all)
      json({
        ...shown(standing, throttle),
        ...(everything === null ? {} : { everythingPausedSince: everything.since, everythingPausedBy: everything.by }),
      })
    return
  }
  const head = ['destination', 'state', 'rate', 'connections', 'open retries', 'wait for a permit', 'last reply']
  if (all.length === 0) line('no destination has been contacted yet')
  else table([head, ...all.map((standing) => row(standing, throttle))])
  if (name === undefined && all.length >= limit) line(`(the first ${limit}; --limit shows more)`)
}

/** The rate and the number of connections that are in use now: adapted, within the limits of the settings and those set by hand. */
function inUse(info: DestinationInfo, throttle: Settings['throttle']): { readonly rate: number; readonly connectionLimit: number } {
  const limits = withManualLimits(configuredLimits(throttle, info.name), info.limited)
  // a relay's connections are not adapted
  const connectionLimit = relayOf(info.name) === null ? connectionsOf(info, limits) : limits.connections
  return { rate: rateOf(info, limits), connectionLimit }
}

/** For JSON: what the limiter keeps for itself is left out. Times are ISO 8601, rates messages a second. */
function shown(info: DestinationInfo, throttle: Settings['throttle']): object {
  const time = (ms: number | null) => (ms === null ? null : iso(ms))
  return {
    name: info.name,
    state: state(info),
    ...{ downSince: time(info.downSince), pausedSince: time(info.pausedSince), pausedBy: info.pausedBy, failures: info.failures },
    ...{ ...inUse(info, throttle), connections: info.connectionsNow, limitedByHand: info.limited },
    ...{ openRetries: info.openRetries, waitingForPermit: info.waitingForPermit, lastAnswer: info.said },
  }
}

function row(info: DestinationInfo, throttle: Settings['throttle']): string[] {
  const { rate, connectionLimit } = inUse(info, throttle)
  const { said } = info
  return [
    info.name,
    state(info),
    `${rate >= 10_000 ? 'any rate' : formatRate(rate)}${info.limited === null ? '' : ' (limited by hand)'}`,
    `${info.connectionsNow} of ${connectionLimit}`,
    info.openRetries === null ? '' : String(info.openRetries),
    String(info.waitingForPermit),
    said === null ? '' : `${said.at.toISOString()} ${said.outcome} ${said.reply}${said.by === null ? '' : ` (${said.by})`}`,
  ]
}

function state({ pausedSince, pausedBy, downSince, failures, failingSince, said }: DestinationInfo): string {
  if (pausedSince !== null) return `paused since ${iso(pausedSince)} by ${pausedBy ?? 'an operator'}`
  if (downSince !== null) return `down since ${iso(downSince)}`
  if (said === null) return 'nothing known'
  return failures === 0 ? 'accepts mail' : `${failures} failures in a row since ${iso(failingSince ?? 0)}`
}

const iso = (ms: number) => new Date(ms).toISOString()

async function pause(client: SoftbounceClient, name: string | undefined, options: { json?: boolean }): Promise<void> {
  await client.destinations.pause(operator(), name)
  if (options.json) {
    json({ destination: name ?? '*', paused: true })
    return
  }
  if (name === undefined) {
    line('everything is paused; softbounce resume continues')
    return
  }
  const standing = await client.destinations.get(name)
  const unknown = standing?.said === null && !standing.openRetries ? ' (no retry has contacted it yet, and none is open for it)' : ''
  line(`${name} is paused${unknown}; softbounce destinations resume ${name} continues`)
}

async function resume(client: SoftbounceClient, name: string | undefined, options: { json?: boolean }): Promise<void> {
  const resumed = await client.destinations.resume(name)
  const what = name ?? 'everything'
  if (options.json) json({ destination: name ?? '*', resumed })
  else line(resumed ? `${what} goes on: waiting retries need permits` : `${what} was not paused`)
}

async function limit(
  client: SoftbounceClient,
  name: string,
  options: { rate?: string; connections?: string; json?: boolean },
): Promise<void> {
  if (options.rate === undefined && options.connections === undefined) throw new CommandFailed('say --rate or --connections, or both', 2)
  const rate = options.rate === undefined ? undefined : options.rate === 'none' ? null : wrong(() => parseRate(options.rate as string))
  const connections = options.connections === undefined ? undefined : options.connections === 'none' ? null : Number(options.connections)
  if (typeof connections === 'number' && (!Number.isInteger(connections) || connections < 1))
    throw new CommandFailed(`--connections ${options.connections} is not a whole number, 1 or more`, 2)
  await client.destinations.limit(name, operator(), {
    ...(rate === undefined ? {} : { rate }),
    ...(connections === undefined ? {} : { connections }),
  })
  const now = await client.destinations.get(name)
  if (options.json) json(now === null ? null : shown(now, readSettings().throttle))
  else {
    const { rate: most = null, connections: at = null } = now?.limited ?? {}
    const said = [
      most === null ? '' : `at most ${formatRate(most)}`,
      at === null ? '' : `at most ${at} ${at === 1 ? 'connection' : 'connections'}`,
    ]
    line(`${name}: ${said.filter((part) => part !== '').join(', ') || 'as the settings say'}`)
  }
}

async function release(client: SoftbounceClient, destination: string, options: ReleaseFlags): Promise<void> {
  if (options.stop) {
    const stopped = await client.destinations.stopRelease(destination)
    if (options.json) json({ destination, stopped })
    else
      line(
        stopped ? `the release of ${destination} stops; run again within a day, it goes on` : `no release of ${destination} is under way`,
      )
    return
  }
  const withinMs = wrong(() => parseDuration(options.within))
  if (withinMs < 1000 || withinMs > 7 * 24 * 3_600_000) throw new CommandFailed('--within: it must be from 1 s to 7 d', 2)
  const started = await client.destinations.release(destination, { withinMs, by: operator() })
  if (options.detach) {
    if (options.json) json({ destination, workflowId: started.workflowId })
    else line(`${started.workflowId}: the retries that wait for ${destination} go within ${formatDuration(withinMs)}`)
    return
  }
  if (!options.json)
    line(
      `${started.workflowId}: the retries that wait for ${destination} go within ${formatDuration(withinMs)}; the release continues if you stop this command`,
    )
  const { released } = await started.result().catch((error: Error & { cause?: Error }) => {
    throw new CommandFailed(`the release of ${destination} did not end: ${error.cause?.message ?? error.message}`)
  })
  if (options.json) json({ destination, released })
  else line(`${released} ${released === 1 ? 'retry was' : 'retries were'} released; each acquires its permit first`)
}

function wrong<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw new CommandFailed((error as Error).message, 2)
  }
}
