#!/usr/bin/env node
/** The softbounce command. Exit status 0; 1 for a failure; 2 for wrong use. */
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { failed } from './output.js'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }

const program = new Command('softbounce')
  .description('Retries soft-bounced e-mail durably and politely. Settings come from the environment: softbounce config shows them.')
  .version(version)
  .configureHelp({ showGlobalOptions: true })
  .exitOverride()
/** The module of each command: only that of the command to be run is loaded, or all if it is none of these (--help). */
const MODULES: readonly (readonly [names: readonly string[], load: () => Promise<(program: Command) => void>])[] = [
  [['worker'], async () => (await import('./worker.js')).addWorker],
  [['intake'], async () => (await import('./intake.js')).addIntake],
  [['read'], async () => (await import('./read.js')).addRead],
  [['retry'], async () => (await import('./retry.js')).addRetry],
  [['status'], async () => (await import('./status.js')).addStatus],
  [['now', 'give-up', 'cancel'], async () => (await import('./signals.js')).addSteering],
  [['destinations', 'pause', 'resume', 'release'], async () => (await import('./destinations.js')).addDestinations],
  [['bounces'], async () => (await import('./bounces.js')).addBounces],
  [['report'], async () => (await import('./report.js')).addReport],
  [['list-check', 'history', 'forget'], async () => (await import('./recipients.js')).addRecipients],
  [['suppressions'], async () => (await import('./suppressions.js')).addSuppressions],
  [['migrate'], async () => (await import('./migrate.js')).addMigrate],
  [['codec-server'], async () => (await import('./codec-server.js')).addCodecServer],
  [['config'], async () => (await import('./config.js')).addConfig],
]
const wanted = MODULES.filter(([names]) => names.includes(process.argv[2] ?? ''))
for (const [, load] of wanted.length > 0 ? wanted : MODULES) (await load())(program)

const LEAVE_AFTER_MS = 500

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // the reader has seen enough (| head)
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
  else process.exitCode = failed(error)
  // whatever a failed start has left open
  setTimeout(() => process.exit(), LEAVE_AFTER_MS).unref()
}
