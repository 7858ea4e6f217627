#!/usr/bin/env node
/** The softbounce command. Exit status 0; 1 for a failure; 2 for wrong use. */
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { addBounces } from './bounces.js'
import { addCodecServer } from './codec-server.js'
import { addConfig } from './config.js'
import { addDestinations } from './destinations.js'
import { addIntake } from './intake.js'
import { addMigrate } from './migrate.js'
import { failed } from './output.js'
import { addRead } from './read.js'
import { addRecipients } from './recipients.js'
import { addReport } from './report.js'
import { addRetry } from './retry.js'
import { addSteering } from './signals.js'
import { addStatus } from './status.js'
import { addSuppressions } from './suppressions.js'
import { addWorker } from './worker.js'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }

const program = new Command('softbounce')
  .description('Retries soft-bounced e-mail durably and politely. Settings come from the environment: softbounce config shows them.')
  .version(version)
  .configureHelp({ showGlobalOptions: true })
  .exitOverride()
for (const add of [
  addWorker,
  addIntake,
  addRead,
  addRetry,
  addStatus,
  addSteering,
  addDestinations,
  addBounces,
  addReport,
  addRecipients,
  addSuppressions,
  addMigrate,
  addCodecServer,
  addConfig,
])
  add(program)

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
